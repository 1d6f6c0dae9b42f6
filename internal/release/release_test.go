package main

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"debug/buildinfo"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
)

var stamp = time.Date(2026, time.January, 2, 3, 4, 6, 0, time.UTC)

// TestArchives: what is put in comes out, with its modes, and the same files give
// the same bytes whenever and by whomever they are packed.
func TestArchives(t *testing.T) {
	dir := t.TempDir()
	files := []file{{name: "LICENSE", path: filepath.Join(dir, "a"), mode: 0o644}, {name: "metaim", path: filepath.Join(dir, "b"), mode: 0o755}}
	for i, f := range files {
		if err := os.WriteFile(f.path, bytes.Repeat([]byte{byte(i)}, 5000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := "metaim-1.2.3/LICENSE 644 5000, metaim-1.2.3/metaim 755 5000"
	for _, test := range []struct {
		name  string
		write func(path, folder string, files []file, stamp time.Time) error
		list  func(data []byte) ([]string, error)
	}{
		{"tar", writeTar, listTar},
		{"zip", writeZip, listZip},
	} {
		var first []byte
		for try := range 2 {
			path := filepath.Join(dir, fmt.Sprint(test.name, try))
			if err := test.write(path, "metaim-1.2.3", files, stamp); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			list, err := test.list(data)
			if got := strings.Join(list, ", "); err != nil || got != want {
				t.Errorf("%s: got %s (%v), want %s", test.name, got, err, want)
			}
			if try > 0 && !bytes.Equal(first, data) {
				t.Errorf("%s: the same files give other bytes", test.name)
			}
			first = data
			later := time.Now().Add(-time.Hour)
			if err := os.Chtimes(files[0].path, later, later); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func listTar(data []byte) (list []string, err error) {
	unpacked, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	for r := tar.NewReader(unpacked); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		if !h.ModTime.Equal(stamp) {
			return list, fmt.Errorf("%s is of %s", h.Name, h.ModTime)
		}
		list = append(list, fmt.Sprintf("%s %o %d", h.Name, h.Mode, h.Size))
	}
}

func listZip(data []byte) (list []string, err error) {
	r, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	for _, f := range r.File {
		if !f.Modified.Equal(stamp) {
			return list, fmt.Errorf("%s is of %s", f.Name, f.Modified)
		}
		list = append(list, fmt.Sprintf("%s %o %d", f.Name, f.Mode().Perm(), f.UncompressedSize64))
	}
	return list, nil
}

// TestBill: the bill of a program, this test's own, names every module in it
// once, and is read back as it was written.
func TestBill(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "bill.json")
	if err := writeBill(path, program, target{"linux", "amd64"}, "1.2.3"); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var bill cdx.BOM
	if err := cdx.NewBOMDecoder(bytes.NewReader(data), cdx.BOMFileFormatJSON).Decode(&bill); err != nil {
		t.Fatal(err)
	}
	var again bytes.Buffer
	if err := cdx.NewBOMEncoder(&again, cdx.BOMFileFormatJSON).SetPretty(true).EncodeVersion(&bill, cdx.SpecVersion1_6); err != nil || !bytes.Equal(again.Bytes(), data) {
		t.Errorf("read and written again, the bill is another (%v)", err)
	}
	info, err := buildinfo.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range *bill.Components {
		if c.PackageURL != c.BOMRef || !strings.HasPrefix(c.PackageURL, "pkg:golang/") {
			t.Errorf("component %s is referred to as %q and found as %q", c.Name, c.BOMRef, c.PackageURL)
		}
		got = append(got, c.Name+" "+c.Version)
	}
	want := []string{"std " + strings.TrimPrefix(strings.Fields(info.GoVersion)[0], "go")}
	for _, m := range info.Deps {
		want = append(want, m.Path+" "+m.Version)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("the bill has %q, want %q", got, want)
	}
	digest, err := digestOf(program)
	if err != nil {
		t.Fatal(err)
	}
	main := bill.Metadata.Component
	if h := (*main.Hashes)[0]; h.Algorithm != cdx.HashAlgoSHA256 || h.Value != fmt.Sprintf("%x", digest) || main.Version != "1.2.3" {
		t.Errorf("the bill is of version %s with digest %s, want 1.2.3 with %x", main.Version, h.Value, digest)
	}
	if needs := (*bill.Dependencies)[0]; needs.Ref != main.BOMRef || len(*needs.Dependencies) != len(got) {
		t.Errorf("%q needs %d components, want %q and %d", needs.Ref, len(*needs.Dependencies), main.BOMRef, len(got))
	}
}

func TestSums(t *testing.T) {
	dir := t.TempDir()
	want := ""
	for _, name := range []string{"a", "b"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600); err != nil {
			t.Fatal(err)
		}
		want += fmt.Sprintf("%x  %s\n", sha256.Sum256([]byte(name)), name)
	}
	if err := sums(dir); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "SHA256SUMS")); err != nil || string(got) != want {
		t.Errorf("got %q (%v), want %q", got, err, want)
	}
}

func TestRefused(t *testing.T) {
	full := t.TempDir()
	if err := os.WriteFile(filepath.Join(full, "old.zip"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name string
		r    release
		want string
	}{
		{"no version", release{out: t.TempDir(), targets: targets}, "is none such as"},
		{"a version with a path", release{version: "1.2.3/../x", out: t.TempDir(), targets: targets}, "is none such as"},
		{"a version for the linker", release{version: "1.2.3 -X main.x=y", out: t.TempDir(), targets: targets}, "is none such as"},
		{"no system", release{version: "1.2.3", out: t.TempDir()}, "no such system"},
		{"an old release", release{version: "1.2.3", out: full, targets: targets}, "isn't empty"},
	} {
		if err := test.r.run(context.Background()); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}

// TestReproducible builds everything twice, the second time with nothing kept from
// the first. It takes long.
func TestReproducible(t *testing.T) {
	if os.Getenv("METAIM_LONG") != "1" {
		t.Skip("METAIM_LONG=1 builds a release twice")
	}
	var first []byte
	for range 2 {
		r := release{version: "0.0.1", root: filepath.Join("..", ".."), out: t.TempDir(), targets: targets, environ: []string{"GOCACHE=" + t.TempDir()}}
		if err := r.run(t.Context()); err != nil {
			t.Fatal(err)
		}
		list, err := os.ReadFile(filepath.Join(r.out, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		if lines := bytes.Count(list, []byte("\n")); lines != 2*len(targets) {
			t.Errorf("the release has %d files, want %d", lines, 2*len(targets))
		}
		if first != nil && !bytes.Equal(first, list) {
			t.Errorf("built again, the release has other digests:\n%s\nwant\n%s", list, first)
		}
		first = list
	}
}
