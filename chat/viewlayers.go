package chat

import (
	"fmt"
	"strings"
	"time"
)

// helpRows lists the keys.
func (m *Model) helpRows() []string {
	var rows []string
	for _, t := range []keyTable{inCompose, inThread, inList, inResults, everywhere} {
		rows = append(rows, "", " "+m.look.bold.Render(t.title))
		keys := t.keys
		if t.title == inCompose.title {
			keys = append([]keyLine{keys[0], newline}, keys[1:]...)
		}
		for _, k := range keys {
			rows = append(rows, "   "+fit(m.measure, k.show, 11)+m.look.dim.Render(k.does))
		}
	}
	rows = append(rows, "", " "+m.look.dim.Render("public> what you write can be read by anyone"),
		" "+m.look.dim.Render("sealed> only the other can open it"))
	fits := m.height - 2
	m.helpTop = max(min(m.helpTop, len(rows)-fits), 0)
	return rows[m.helpTop:min(m.helpTop+fits, len(rows))]
}

// detailRows tells all about one message.
func (m *Model) detailRows() []string {
	i := m.selected()
	if i == nil {
		return []string{"", " there is no message here any more"}
	}
	state, _ := m.state(i)
	if i.Height >= 0 && i.State == Confirmed {
		state += fmt.Sprintf(" (block %d)", i.Height)
	}
	signed := "by " + i.Address
	switch {
	case i.Forged != "":
		signed = "NOT VERIFIED: " + i.Forged
	case i.ID == "":
		signed = "not yet"
	}
	when := ""
	if i.Time > 0 {
		when = time.UnixMilli(i.Time).In(m.now().Location()).Format("2006-01-02 15:04:05 MST") + ", the sender's word"
	}
	rows := []string{"", " " + m.look.bold.Render("one message")}
	for _, f := range [][2]string{
		{"from", i.Source}, {"signed", signed}, {"written", when}, {"state", state}, {"reason", i.Reason}, {"type", i.Type},
		{"file", i.FileName}, {"size", size(i.Size)}, {"encryption", i.Encryption}, {"closed", i.Locked}, {"parts", i.Parts},
		{"answers", i.Re}, {"id", i.ID}, {"transaction", i.TxID}, {"between", strings.Join(i.Peers, ", ")},
	} {
		if f[1] == "" {
			continue
		}
		for n, r := range wrapped(m.measure, f[1], m.width-15, 4) {
			name := f[0]
			if n > 0 {
				name = ""
			}
			rows = append(rows, " "+m.look.dim.Render(fit(m.measure, name, 13))+r)
		}
	}
	return append(rows, "", " "+m.look.dim.Render("any key goes back"))
}

// resultRows lists what a search found.
func (m *Model) resultRows() []string {
	r := &m.results
	head := fmt.Sprintf(" %d with %q", len(r.found), lineOf(r.words))
	if r.busy {
		head += ", and the server is asked"
	}
	rows := []string{m.look.bold.Render(cut(m.measure, head, m.width)), ""}
	const each = 2
	fits := max((m.height-4)/each, 1)
	r.cursor = min(r.cursor, max(len(r.found)-1, 0))
	r.top = max(min(r.top, r.cursor), r.cursor-fits+1)
	if len(r.found) == 0 && !r.busy {
		rows = append(rows, " "+m.look.dim.Render("nothing. Encrypted messages are found in the open conversation only."))
	}
	for at := r.top; at < len(r.found) && at < r.top+fits; at++ {
		f := &r.found[at]
		gutter := " "
		if at == r.cursor {
			gutter = ">"
		}
		who := f.Source
		if f.Mine {
			who = "you"
			if len(f.Peers) > 0 {
				who += " to " + m.labelOf(f.Peers[0])
			}
		}
		state, colour := m.state(f)
		rows = append(rows,
			gutter+m.look.bold.Render(cut(m.measure, who, m.width-34))+m.look.dim.Render(" "+m.when(f.Time))+"  "+colour.Render(state),
			gutter+" "+cut(m.measure, oneLine(f), m.width-3))
	}
	return rows
}

// labelOf names an address as the list does.
func (m *Model) labelOf(address string) string {
	if t := m.book.find(address); t != nil && t.peer.Name != "" {
		return t.peer.Name
	}
	return short(address)
}
