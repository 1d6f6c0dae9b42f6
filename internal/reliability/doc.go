// Package reliability tries what docs/reliability.md promises: kills,
// reorganisations, giants, subscribers that come and go. Its tests run a short
// form always and the long one with METAIM_LONG=1 (make reliability), which logs
// the figures of that page.
package reliability
