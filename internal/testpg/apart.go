package testpg

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Set sets a parameter of the server, as in postgresql.conf.
func Set(name, value string) Option {
	return func(s *Server) { s.settings = append(s.settings, "-c", name+"="+value) }
}

// New starts a server outside of a test: the benchmarks have theirs from here.
// Remove ends it.
func New(opts ...Option) (*Server, error) {
	s := &Server{}
	for _, o := range opts {
		o(s)
	}
	if err := s.create(); err != nil {
		return nil, err
	}
	if err := s.launch(); err != nil {
		_ = s.remove() // why it doesn't start is what counts
		return nil, err
	}
	return s, nil
}

// Remove ends a server made by [New], and its data.
func (s *Server) Remove() error { return s.remove() }

// Database makes a fresh database, which stays until the server is removed, and
// returns its URL.
func (s *Server) Database() (string, error) {
	name := fmt.Sprintf("test%d", databases.Add(1))
	if err := s.exec("CREATE DATABASE " + name); err != nil {
		return "", err
	}
	return s.url(name), nil
}

// Program is the path of a program that came with the server, such as pgbench.
func (s *Server) Program(name string) string { return filepath.Join(s.bin, name) }

// Data is the folder of the server's data.
func (s *Server) Data() string { return s.data() }

// PID is the process that all others of the server are children of.
func (s *Server) PID() (int, error) {
	text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := strings.Cut(string(text), "\n")
	return strconv.Atoi(first)
}
