package postgres

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5/pgconn"
)

// A failure is an error of the driver in words that say neither where the
// database is nor who asks: the driver's own have that in them.
type failure struct {
	text string
	errs []error // what it is, for errors.Is and errors.As
}

func (f *failure) Error() string   { return f.text }
func (f *failure) Unwrap() []error { return f.errs }

// explain says what went wrong with a connection or a statement. When ctx has
// ended, that is what went wrong.
func explain(ctx context.Context, what string, err error) error {
	if err == nil {
		return nil
	}
	if ended := ctx.Err(); ended != nil {
		return fmt.Errorf("%s: %w", what, ended)
	}
	return fmt.Errorf("%s: %w", what, plain(err))
}

func plain(err error) error {
	if _, ok := errors.AsType[*failure](err); ok {
		return err
	}
	if refused, ok := errors.AsType[*pgconn.PgError](err); ok {
		return said(refused)
	}
	if reason, lost := unreachable(err); lost {
		return &failure{fmt.Sprintf("%v: %s", ErrUnavailable, reason), []error{ErrUnavailable, err}}
	}
	return err
}

// said turns what the server said into an error. Detail and the rest stay
// behind: they may hold the contents of rows.
func said(e *pgconn.PgError) error {
	kind := kindOf(e.Code)
	text := fmt.Sprintf("%s (SQLSTATE %s)", e.Message, e.Code)
	if kind == nil {
		return &failure{text, []error{e}}
	}
	return &failure{fmt.Sprintf("%v: %s", kind, text), []error{kind, e}}
}

func kindOf(code string) error {
	switch {
	case code == "42501", code == "25006": // insufficient privilege, read-only transaction
		return ErrDenied
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "57P"), code == "53300":
		return ErrUnavailable // lost, shutting down, starting up, too many connections
	}
	return nil
}

// unreachable tells why the server can't be reached, when it is that.
func unreachable(err error) (reason string, ok bool) {
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return "its host is not known", true
	}
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		return number.Error(), true
	}
	_, connecting := errors.AsType[*pgconn.ConnectError](err)
	timeout, network := errors.AsType[net.Error](err)
	switch {
	case network && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return "it doesn't answer", true
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, net.ErrClosed), errors.Is(err, errLost),
		err.Error() == "conn closed": // pgconn's, which has no name
		return "the connection was lost", true
	case connecting:
		return "the connection can't be made", true
	}
	return "", false
}

// errLost is what a connection found closed fails with.
var errLost = errors.New("connection lost")
