//go:build !amd64

package doublesha

func without() (restore func()) { return func() {} }
