package chat

import "charm.land/lipgloss/v2"

// A look is how things are coloured. Colours are the terminal's own sixteen, so
// that they suit its theme; whether the background is dark decides the rest. All
// that a colour says stands in words or signs beside it, too: with NO_COLOR
// nothing is lost.
type look struct {
	bar, chosen, dim, bold, mine, theirs, good, wait, bad, note lookStyle
}

type lookStyle = lipgloss.Style

func newLook(dark bool) look {
	s := lipgloss.NewStyle
	pick := lipgloss.LightDark(dark)
	return look{
		bar:    s().Bold(true).Foreground(pick(lipgloss.Color("#1c1c1c"), lipgloss.Color("#eeeeee"))).Background(pick(lipgloss.Color("#d0d0d0"), lipgloss.Color("#303030"))),
		chosen: s().Bold(true),
		dim:    s().Foreground(pick(lipgloss.Color("#6c6c6c"), lipgloss.Color("#8a8a8a"))),
		bold:   s().Bold(true),
		mine:   s().Bold(true).Foreground(pick(lipgloss.Color("4"), lipgloss.Color("12"))),
		theirs: s().Bold(true).Foreground(pick(lipgloss.Color("5"), lipgloss.Color("13"))),
		good:   s().Foreground(pick(lipgloss.Color("2"), lipgloss.Color("10"))),
		wait:   s().Foreground(pick(lipgloss.Color("130"), lipgloss.Color("11"))),
		bad:    s().Bold(true).Foreground(pick(lipgloss.Color("1"), lipgloss.Color("9"))),
		note:   s().Bold(true),
	}
}
