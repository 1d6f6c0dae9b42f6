package blockfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// suffixes are the names that count in a folder. What a file holds is found out
// from its content.
var suffixes = []string{".dat", ".blk", ".bin", ".zst"}

// expand replaces folders by the block files in them, in the order of their
// names. A node's rev*.dat stand in the same folder and hold no blocks.
func expand(paths []string) ([]string, error) {
	if len(paths) == 0 {
		return nil, errors.New("no block files are named")
	}
	var files []string
	for _, path := range paths {
		info, err := os.Stat(path)
		switch {
		case err != nil:
			return nil, fmt.Errorf("block files: %w", err)
		case info.Mode().IsRegular():
			files = append(files, path)
		case info.IsDir():
			inside, err := inFolder(path)
			if err != nil {
				return nil, err
			}
			files = append(files, inside...)
		default:
			return nil, fmt.Errorf("block files: %s is neither a file nor a folder", path)
		}
	}
	return files, nil
}

func inFolder(folder string) ([]string, error) {
	entries, err := os.ReadDir(folder) // sorted by name
	if err != nil {
		return nil, fmt.Errorf("block files: %w", err)
	}
	var files []string
	for _, e := range entries {
		path := filepath.Join(folder, e.Name())
		if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || !blockName(e.Name()) {
			continue
		}
		files = append(files, path)
	}
	if len(files) == 0 {
		return nil, fmt.Errorf("block files: folder %s holds none (%s)", folder, strings.Join(suffixes, ", "))
	}
	return files, nil
}

func blockName(name string) bool {
	if strings.HasPrefix(name, "rev") {
		return false
	}
	for _, s := range suffixes {
		if strings.HasSuffix(name, s) {
			return true
		}
	}
	return false
}
