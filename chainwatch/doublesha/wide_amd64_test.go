package doublesha

// without turns the wide hash off, until what it returns is called.
func without() (restore func()) {
	before := wide
	wide = false
	return func() { wide = before }
}
