package migrations

import "testing"

func TestLatest(t *testing.T) {
	for _, folder := range []string{"sqlite", "postgres"} {
		files, err := FS.ReadDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		// Numbers go up by one: the last is how many there are.
		if got, err := Latest(folder); err != nil || got != int64(len(files)) {
			t.Errorf("%s: got %d, %v, want %d", folder, got, err, len(files))
		}
	}
	if got, err := Latest("nowhere"); err == nil {
		t.Errorf("a folder that isn't there: got %d, no error", got)
	}
}
