// Package chat is a person's conversations on a terminal: a full-window
// application and, with the same commands behind it, a mode that prints plain
// lines for screen readers, dumb terminals and pipes.
//
// A [Backend] asks and sends; [Live] is the one that talks to a server. The state
// of all conversations is a [book], which is changed by what the backend tells and
// does no input or output itself; [Run] shows it full-window, [RunPlain] line by
// line.
//
// Everything a stranger wrote is made harmless in one place, where it comes in:
// [Message.harmless], [Peer.harmless]. What is stored in a book can be printed.
package chat
