package door

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// protocols are what is offered over TLS. WebSockets come over HTTP/1.1, which
// their clients ask for.
var protocols = []string{"h2", "http/1.1"}

// A Certificate is one in two files, which are read again when they change.
type Certificate struct {
	certFile, keyFile string
	log               *slog.Logger

	now  atomic.Pointer[tls.Certificate]
	read string // how the files looked when they were last read; Watch's own
}

// OpenCertificate reads a chain of certificates and its key, both PEM. The key
// must be readable for its owner only.
func OpenCertificate(certFile, keyFile string, log *slog.Logger) (*Certificate, error) {
	c := &Certificate{certFile: certFile, keyFile: keyFile, log: log}
	if err := c.load(); err != nil {
		return nil, err
	}
	return c, nil
}

func (c *Certificate) load() error {
	looks, err := c.looks()
	if err != nil {
		return err
	}
	if err := CheckPrivate(c.keyFile); err != nil {
		return err
	}
	pair, err := tls.LoadX509KeyPair(c.certFile, c.keyFile)
	if err != nil {
		return fmt.Errorf("certificate %s: %w", c.certFile, err)
	}
	c.now.Store(&pair)
	c.read = looks
	return nil
}

// looks tells two states of the files apart.
func (c *Certificate) looks() (string, error) {
	text := ""
	for _, path := range []string{c.certFile, c.keyFile} {
		info, err := os.Stat(path)
		if err != nil {
			return "", err
		}
		text += fmt.Sprint(info.ModTime().UnixNano(), info.Size(), info.Mode(), ";")
	}
	return text, nil
}

// Watch looks at the files every so often and takes them when they have changed
// and fit each other; until then the last ones serve on. It ends with ctx.
func (c *Certificate) Watch(ctx context.Context, every time.Duration) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	said := ""
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		looks, err := c.looks()
		if err == nil && looks == c.read {
			continue
		}
		if err == nil {
			err = c.load()
		}
		switch {
		case err == nil:
			said = ""
			c.log.Info("the certificate was read again", "file", c.certFile)
		case err.Error() != said:
			said = err.Error()
			c.log.Warn("the certificate can't be read again; the last one serves on", "error", err)
		}
	}
}

// TLS returns settings that use the certificate: TLS 1.2 and 1.3.
func (c *Certificate) TLS() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12, NextProtos: protocols,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.now.Load(), nil },
	}
}

// errShared says that others may read a file that holds secrets.
var errShared = errors.New("others than its owner can read or change it: chmod 600")

// CheckPrivate tells why a file with secrets isn't its owner's only. Where files
// have no such modes nothing is checked.
func CheckPrivate(path string) error {
	info, err := os.Stat(path)
	if err != nil {
		return err
	}
	if info.Mode().Perm()&0o077 != 0 && modesMean {
		return fmt.Errorf("%s: %w", path, errShared)
	}
	return nil
}
