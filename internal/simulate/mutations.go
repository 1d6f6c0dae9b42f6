package simulate

// A Mutation is a mistake that could be made in the product. The simulator must
// find each within 1,000 runs, or it proves nothing.
type Mutation struct {
	Name    string
	Patches []Patch
}

func mutation(name, file, was, is string) Mutation {
	return Mutation{name, []Patch{{file, was, is}}}
}

// Mutations are the mistakes that are tried. The rule that each breaks is named
// first.
var Mutations = []Mutation{
	// A renewal keeps since; what comes after a deletion begins a new one.
	mutation("a renewal breaks since", "nprotocol/ledger.go", "n.Since = old.Since // a renewal is no break", ""),
	mutation("a registration after a deletion is a renewal", "nprotocol/ledger.go",
		"old.Address == r.Address && old.ValidAt(at.Now)", "old.Address == r.Address && at.Now < old.ExpiresAt"),
	// Valid while now is before the registration time and 365 days, now being the
	// median time.
	mutation("a name is valid at its last second", "nprotocol/ledger.go", "!n.Deleted && now < n.ExpiresAt", "!n.Deleted && now <= n.ExpiresAt"),
	mutation("now is the header's time", "index/connect.go", "Now: b.MedianTime,", "Now: b.Time(),"),
	mutation("the median is the lower middle", "chainwatch/chain.go", "times[len(times)/2]", "times[(len(times)-1)/2]"),
	mutation("a name runs from the median time", "nprotocol/ledger.go", "ExpiresAt: at.Time + Lifetime}\n\tswitch", "ExpiresAt: at.Now + Lifetime}\n\tswitch"),
	// The order of verdicts.
	mutation("a stale message is found before a duplicate", "index/judge.go",
		"case facts.Valid[f.ID]:\n\t\td.Verdict = frame.Duplicate\n\tcase said && last > timeStamp:\n\t\td.Verdict = frame.StaleTimeStamp\n",
		"case said && last > timeStamp:\n\t\td.Verdict = frame.StaleTimeStamp\n\tcase facts.Valid[f.ID]:\n\t\td.Verdict = frame.Duplicate\n"),
	mutation("a copied record is stale", "index/judge.go", "if facts.Valid[f.ID] {", "if false {"),
	mutation("nobody has to pay", "index/judge.go", "ok && !tx.Pays(to)", "ok && false && !tx.Pays(to)"),
	// Time stamps.
	mutation("a transfer counts under the new address", "nprotocol/ledger.go", "return Subject{frame.N, r.Address, r.Name}",
		"if r.Operation == Transfer {\n\t\treturn Subject{frame.N, r.NewAddress, r.Name}\n\t}\n\treturn Subject{frame.N, r.Address, r.Name}"),
	mutation("a deletion resets time stamps", "nprotocol/ledger.go", "gone := *old\n", "delete(l.TimeStamps, r.Subject())\n\t\tgone := *old\n"),
	mutation("an equal time stamp of a record is good", "nprotocol/ledger.go", "timeStamp <= last", "timeStamp < last"),
	mutation("a refused record leaves its time stamp", "nprotocol/ledger.go", "if v := l.refuse(r, at.Now); v != frame.Valid {",
		"if v := l.refuse(r, at.Now); v != frame.Valid {\n\t\tl.TimeStamps[r.Subject()] = timeStamp"),
	mutation("a smaller time stamp of a message is good", "index/judge.go", "case said && last > timeStamp:", "case said && last > timeStamp && false:"),
	// Recipients.
	mutation("change is a recipient", "index/index.go", "\tif t.Change() {\n", "\tif false {\n"),
	mutation("the source is a recipient", "index/index.go", "return h == *source })", "return false })"),
	// Signatures.
	mutation("DER is tried with the keys of the inputs only", "index/index.go", "if key, ok := improtocol.PublicKey(f.Other()); ok && !yield(key) {\n\t\t\treturn\n\t\t}\n\t\tif proved != nil {",
		"if proved != nil && false {"),
	mutation("DER is tried without the keys proved before", "index/index.go", "if proved != nil {", "if proved != nil && false {"),
	mutation("the keys of those who hold names are not asked for", "index/need.go", "if err != nil || !n.der {", "if n.der = false; err != nil || !n.der {"),
	mutation("a transfer needs one signature", "index/judge.go", "for i, address := range of {\n", "for i, address := range of[:1] {\n"),
	// What is unconfirmed changes no resolution, and follows the chain.
	mutation("a pending name resolves", "index/judge.go", "r.Resolve(facts.Ledger,", "r.Resolve(facts.Pending,"),
	mutation("a block judges nothing again", "index/writer.go", "if err := c.connect(blocks); err != nil {\n\t\t\treturn err\n\t\t}\n\t\treturn c.rejudge()",
		"return c.connect(blocks)"),
	mutation("a double spend drops nothing", "index/connect.go", "conflicts = append(conflicts, b.Conflicts...)", ""),
	mutation("what spends a dropped output stays", "index/unconfirmed.go", "\theirs(saved, gone)\n", ""),
	mutation("a changed verdict is not told", "index/connect.go", "before.Entries[j].Verdict != e.Verdict {", "false {"),
	// Reorganisations.
	mutation("disconnecting folds no records again", "index/disconnect.go", "e.Record != nil && e.Verdict == frame.Valid {", "e.Record != nil && e.Verdict == frame.Valid && false {"),
	mutation("a lost coinbase is in the mempool", "index/disconnect.go", "if tx.Coinbase {", "if tx.Coinbase && false {"),
	mutation("equal work replaces", "chainwatch/chain.go", "n.work.more(c.nodes[c.best].work) {", "!c.nodes[c.best].work.more(n.work) {"),
	mutation("what is given back is not known to be spent", "chainwatch/follower.go", "f.forget() // whatever fails", "// whatever fails"),
}
