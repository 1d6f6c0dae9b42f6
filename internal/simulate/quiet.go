package simulate

import "runtime"

// A quietTest lets rapid run outside a test.
type quietTest struct{ failed bool }

func (*quietTest) Helper()                 {}
func (*quietTest) Name() string            { return "simulate" }
func (*quietTest) Logf(string, ...any)     {}
func (*quietTest) Log(...any)              {}
func (q *quietTest) Skipf(string, ...any)  { q.SkipNow() }
func (q *quietTest) Skip(...any)           { q.SkipNow() }
func (*quietTest) SkipNow()                { runtime.Goexit() }
func (q *quietTest) Errorf(string, ...any) { q.failed = true }
func (q *quietTest) Error(...any)          { q.failed = true }
func (q *quietTest) Fatalf(string, ...any) { q.FailNow() }
func (q *quietTest) Fatal(...any)          { q.FailNow() }
func (q *quietTest) FailNow()              { q.failed = true; runtime.Goexit() }
func (q *quietTest) Fail()                 { q.failed = true }
func (q *quietTest) Failed() bool          { return q.failed }
