package chat

// An action is what a key press asks to be done; see Model.press.
type action int

const (
	nothing action = iota
	quit
	help
	nextPart
	back
	openTalk
	newTalk
	search
	up
	down
	pageUp
	pageDown
	toTop
	toEnd
	compose
	reply
	saveFile
	attach
	details
	dropDraft
	seal
	send
	suspend
)

// A keyTable says which key does what in one part of the window.
type keyTable struct {
	title string
	keys  []keyLine
}

type keyLine struct {
	keys   []string
	show   string
	does   string
	action action
}

var (
	everywhere = keyTable{"everywhere", []keyLine{
		{[]string{"tab"}, "tab", "list, messages, writing", nextPart},
		{[]string{"esc"}, "esc", "back", back},
		{[]string{"f1"}, "f1", "these keys", help},
		{[]string{"ctrl+e"}, "ctrl+e", "encrypt this conversation, or don't", seal},
		{[]string{"ctrl+o"}, "ctrl+o", "send a file", attach},
		{[]string{"ctrl+z"}, "ctrl+z", "suspend", suspend},
		{[]string{"ctrl+c"}, "ctrl+c", "end", quit},
	}}
	inList = keyTable{"list", []keyLine{
		{[]string{"up", "k"}, "↑ k", "up", up},
		{[]string{"down", "j"}, "↓ j", "down", down},
		{[]string{"pgup", "ctrl+b"}, "pgup", "a page up", pageUp},
		{[]string{"pgdown", "ctrl+f"}, "pgdn", "a page down", pageDown},
		{[]string{"home", "g"}, "home g", "first", toTop},
		{[]string{"end", "G"}, "end G", "last", toEnd},
		{[]string{"enter", "right", "l"}, "enter", "open", openTalk},
		{[]string{"n"}, "n", "new conversation", newTalk},
		{[]string{"/"}, "/", "search", search},
		{[]string{"?"}, "?", "these keys", help},
		{[]string{"q"}, "q", "end", quit},
	}}
	inThread = keyTable{"messages", []keyLine{
		{[]string{"up", "k"}, "↑ k", "message before", up},
		{[]string{"down", "j"}, "↓ j", "message after", down},
		{[]string{"pgup", "ctrl+b"}, "pgup", "a page back", pageUp},
		{[]string{"pgdown", "ctrl+f", "space"}, "pgdn", "a page on", pageDown},
		{[]string{"home", "g"}, "home g", "oldest that is loaded", toTop},
		{[]string{"end", "G"}, "end G", "newest", toEnd},
		{[]string{"enter", "i"}, "enter i", "write", compose},
		{[]string{"r"}, "r", "reply", reply},
		{[]string{"s"}, "s", "save to a file", saveFile},
		{[]string{"v"}, "v", "all about it", details},
		{[]string{"x"}, "x", "drop what is queued or refused", dropDraft},
		{[]string{"n"}, "n", "new conversation", newTalk},
		{[]string{"/"}, "/", "search", search},
		{[]string{"?"}, "?", "these keys", help},
		{[]string{"left", "h"}, "←", "list", back},
	}}
	inCompose = keyTable{"writing", []keyLine{
		{[]string{"enter"}, "enter", "send", send},
		{[]string{"pgup"}, "pgup", "a page back", pageUp},
		{[]string{"pgdown"}, "pgdn", "a page on", pageDown},
	}}
	inResults = keyTable{"results", []keyLine{
		{[]string{"up", "k"}, "↑ k", "up", up},
		{[]string{"down", "j"}, "↓ j", "down", down},
		{[]string{"pgup"}, "pgup", "a page up", pageUp},
		{[]string{"pgdown"}, "pgdn", "a page down", pageDown},
		{[]string{"enter"}, "enter", "show it where it stands", openTalk},
		{[]string{"/"}, "/", "search for something else", search},
		{[]string{"q"}, "q", "back", back},
	}}
	newline = keyLine{[]string{"alt+enter", "shift+enter", "ctrl+j"}, "alt+enter", "new line (also ctrl+j)", nothing}
)

// find returns what a key does in a part of the window.
func (t keyTable) find(key string) action {
	for _, l := range t.keys {
		for _, k := range l.keys {
			if k == key {
				return l.action
			}
		}
	}
	return nothing
}
