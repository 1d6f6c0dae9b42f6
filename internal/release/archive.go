package main

import (
	"archive/tar"
	"archive/zip"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// A file is one to be put into an archive.
type file struct {
	name string // in the archive
	path string // here
	mode fs.FileMode
}

// writeTar writes a compressed archive whose files lie in one folder. Nothing in
// it says who made it, or when.
func writeTar(path, folder string, files []file, stamp time.Time) (err error) {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	packed := gzip.NewWriter(out)
	w := tar.NewWriter(packed)
	defer func() { err = errors.Join(err, w.Close(), packed.Close(), out.Close()) }()
	for _, f := range files {
		data, err := os.ReadFile(f.path)
		if err != nil {
			return err
		}
		header := &tar.Header{Typeflag: tar.TypeReg, Name: folder + "/" + f.name, Size: int64(len(data)), Mode: int64(f.mode), ModTime: stamp, Format: tar.FormatUSTAR}
		if err := w.WriteHeader(header); err != nil {
			return err
		}
		if _, err := w.Write(data); err != nil {
			return err
		}
	}
	return nil
}

// writeZip is writeTar for those who have no tar.
func writeZip(path, folder string, files []file, stamp time.Time) (err error) {
	out, err := os.Create(path)
	if err != nil {
		return err
	}
	w := zip.NewWriter(out)
	defer func() { err = errors.Join(err, w.Close(), out.Close()) }()
	for _, f := range files {
		header := &zip.FileHeader{Name: folder + "/" + f.name, Method: zip.Deflate, Modified: stamp}
		header.SetMode(f.mode)
		to, err := w.CreateHeader(header)
		if err != nil {
			return err
		}
		from, err := os.Open(f.path)
		if err != nil {
			return err
		}
		_, err = io.Copy(to, from)
		if err := errors.Join(err, from.Close()); err != nil {
			return err
		}
	}
	return nil
}
