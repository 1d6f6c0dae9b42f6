package index

// Preview judges the frames of a transaction as they would be judged if it were
// seen now, after everything that is confirmed. It changes nothing.
func Preview(v View, rules *Rules, tx *Transaction) ([]Decision, error) {
	tip, err := v.Tip()
	if err != nil {
		return nil, err
	}
	n := newNeeds(rules)
	n.add([]*Transaction{tx})
	facts, err := n.facts(v)
	if err != nil {
		return nil, err
	}
	facts.Fork()
	decisions := make([]Decision, len(tx.Frames))
	for i, f := range tx.Frames {
		decisions[i] = rules.Judge(facts, tx, f, provisional(tip))
	}
	return decisions, nil
}
