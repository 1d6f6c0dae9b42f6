// Package migrations holds the SQL that makes and changes the databases of the
// index: one folder for each kind of store, plain files for goose, in the order
// of their numbers. A file that was released is never changed.
package migrations

import "embed"

// FS holds the folders "sqlite" and "postgres".
//
//go:embed sqlite/*.sql postgres/*.sql
var FS embed.FS
