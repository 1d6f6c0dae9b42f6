//go:build !linux && !darwin

package main

func freeBytes(string) (free uint64, ok bool) { return 0, false }

func mostFiles() (most uint64, ok bool) { return 0, false }
