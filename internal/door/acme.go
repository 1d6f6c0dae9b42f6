package door

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

// Automatic says how certificates are had from an ACME authority (RFC 8555) and
// renewed. It proves that a domain is ours by the TLS-ALPN challenge (RFC 8737),
// so that the server must be reached at port 443 of the domain and nothing else.
type Automatic struct {
	Domains   []string
	Folder    string // where account, keys and certificates are kept, 0700
	Email     string // for the authority; may be empty
	Directory string // URL of the authority's directory; "": Let's Encrypt
	Port      int    // that the server listens on
	Host      string // that it listens on; "": every address
	Log       *slog.Logger

	Roots *x509.CertPool // of the authority's own certificate; nil: the system's
}

// TLS returns settings that use the certificates, and what keeps them until ctx
// ends. Without a certificate yet handshakes fail; what goes wrong is logged and
// tried again. By using it the operator agrees to the authority's terms.
func (a *Automatic) TLS() (*tls.Config, func(ctx context.Context) error, error) {
	if len(a.Domains) == 0 {
		return nil, nil, errors.New("a certificate needs a domain")
	}
	log := zap.New(&zapLog{to: a.Log.Handler()})
	var config *certmagic.Config
	cache := certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) { return config, nil }, Logger: log,
	})
	config = certmagic.New(cache, certmagic.Config{Storage: &certmagic.FileStorage{Path: a.Folder}, Logger: log})
	directory := a.Directory
	if directory == "" {
		directory = certmagic.LetsEncryptProductionCA
	}
	issuer := certmagic.NewACMEIssuer(config, certmagic.ACMEIssuer{
		CA: directory, Email: a.Email, Agreed: true, DisableHTTPChallenge: true, ListenHost: a.Host, AltTLSALPNPort: a.Port,
		TrustedRoots: a.Roots, Logger: log,
	})
	issuer.TestCA = "" // a second authority is asked by nobody
	config.Issuers = []certmagic.Issuer{issuer}
	settings := config.TLSConfig()
	settings.MinVersion = tls.VersionTLS12
	settings.NextProtos = append(append([]string{}, protocols...), settings.NextProtos...)
	keep := func(ctx context.Context) error {
		defer cache.Stop()
		if err := config.ManageAsync(ctx, a.Domains); err != nil {
			return err
		}
		<-ctx.Done()
		return nil
	}
	return settings, keep, nil
}

// A zapLog writes what a zap.Logger is told to a slog.Handler.
type zapLog struct {
	to     slog.Handler
	fields []zapcore.Field
}

func (z *zapLog) level(l zapcore.Level) slog.Level {
	switch {
	case l >= zapcore.ErrorLevel:
		return slog.LevelError
	case l == zapcore.WarnLevel:
		return slog.LevelWarn
	case l == zapcore.InfoLevel:
		return slog.LevelInfo
	}
	return slog.LevelDebug
}

// Enabled implements zapcore.Core, as the following do.
func (z *zapLog) Enabled(l zapcore.Level) bool {
	return z.to.Enabled(context.Background(), z.level(l))
}

func (z *zapLog) With(fields []zapcore.Field) zapcore.Core {
	return &zapLog{to: z.to, fields: append(append([]zapcore.Field{}, z.fields...), fields...)}
}

func (z *zapLog) Check(e zapcore.Entry, c *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if z.Enabled(e.Level) {
		return c.AddCore(e, z)
	}
	return c
}

func (z *zapLog) Write(e zapcore.Entry, fields []zapcore.Field) error {
	record := slog.NewRecord(e.Time, z.level(e.Level), e.Message, 0)
	said := zapcore.NewMapObjectEncoder()
	for _, f := range append(append([]zapcore.Field{}, z.fields...), fields...) {
		f.AddTo(said)
	}
	for name, value := range said.Fields {
		record.AddAttrs(slog.Any(name, value))
	}
	return z.to.Handle(context.Background(), record)
}

func (z *zapLog) Sync() error { return nil }
