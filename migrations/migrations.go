// Package migrations holds the SQL that makes and changes the databases of the
// index: one folder for each kind of store, plain files for goose, in the order
// of their numbers. A file that was released is never changed.
package migrations

import (
	"embed"
	"fmt"
	"strconv"
	"strings"
)

// FS holds the folders "sqlite" and "postgres".
//
//go:embed sqlite/*.sql postgres/*.sql
var FS embed.FS

// Latest returns the number of the last migration in a folder.
func Latest(folder string) (int64, error) {
	files, err := FS.ReadDir(folder)
	if err != nil {
		return 0, err
	}
	var last int64
	for _, f := range files {
		number, _, _ := strings.Cut(f.Name(), "_")
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return 0, fmt.Errorf("the number of the migration %s: %w", f.Name(), err)
		}
		last = max(last, n)
	}
	return last, nil
}
