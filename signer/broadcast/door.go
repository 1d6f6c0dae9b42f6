package broadcast

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/metaim/metaim/internal/noderpc"
)

// Bounds of a [Service].
const (
	DefaultTimeout   = 15 * time.Second // of one request
	DefaultMaxAnswer = 1 << 20          // bytes
)

// A Service says where a service on the network is and how much we bear from it.
type Service struct {
	URL       string        // https://host, perhaps with a path before that of the service
	Token     string        // bearer token; never in an error or a log; empty: none
	Timeout   time.Duration // of one request; 0 is DefaultTimeout
	MaxAnswer int64         // bytes of one answer; 0 is DefaultMaxAnswer
}

// A door is how requests go to a service: its answers are bounded in time and
// bytes, a redirection isn't followed (it would carry the token elsewhere).
type door struct {
	http    *http.Client
	base    string // without a slash at the end
	host    string
	token   string
	timeout time.Duration
	most    int64
}

func newDoor(s Service) (*door, error) {
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("the address of the service is no URL such as https://arc.example.org")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("the address of %s may have a host and a path only: a token is given apart from it", u.Hostname())
	case s.Token != "" && u.Scheme == "http" && !onThisMachine(u.Hostname()):
		return nil, fmt.Errorf("the token for %s would travel in clear: use https", u.Hostname())
	case strings.ContainsFunc(s.Token, func(r rune) bool { return r <= ' ' || r > '~' }):
		return nil, fmt.Errorf("the token for %s has characters that no token has", u.Hostname())
	}
	d := &door{base: strings.TrimRight(u.String(), "/"), host: u.Host, token: s.Token, timeout: s.Timeout, most: s.MaxAnswer}
	if d.timeout <= 0 {
		d.timeout = DefaultTimeout
	}
	if d.most <= 0 {
		d.most = DefaultMaxAnswer
	}
	d.http = &http.Client{
		Transport: &http.Transport{
			Proxy:                  http.ProxyFromEnvironment,
			DialContext:            (&net.Dialer{Timeout: 10 * time.Second}).DialContext,
			TLSHandshakeTimeout:    10 * time.Second,
			MaxIdleConnsPerHost:    16,
			IdleConnTimeout:        30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return d, nil
}

func onThisMachine(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// An answer is what a service said, all of it.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// ask sends a request below the service's address and reads the whole answer. It
// fails with ErrUnavailable, and with errUntouched beneath it when nothing was
// sent.
func (d *door) ask(ctx context.Context, method, path string, header http.Header, body []byte) (*answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, d.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%w: %w: %w", ErrUnavailable, errUntouched, err)
	}
	for name, values := range header {
		req.Header[name] = values
	}
	req.Header.Set("Accept", "application/json")
	if d.token != "" {
		req.Header.Set("Authorization", "Bearer "+d.token)
	}
	return d.do(req)
}

func (d *door) do(req *http.Request) (*answer, error) {
	ctx, cancel := context.WithTimeout(req.Context(), d.timeout)
	defer cancel()
	resp, err := d.http.Do(req.WithContext(ctx))
	if err != nil {
		return nil, d.unreachable(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, d.most+1))
	if err != nil {
		return nil, d.unreachable(err)
	}
	if int64(len(body)) > d.most {
		return nil, fmt.Errorf("%w: the answer of %s has more than %d bytes", ErrUnavailable, d.host, d.most)
	}
	return &answer{status: resp.StatusCode, header: resp.Header, body: body}, nil
}

func (d *door) unreachable(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err // the rest repeats the address
	}
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return fmt.Errorf("%w: %w: %s: %s", ErrUnavailable, errUntouched, d.host, noderpc.Clean(err.Error()))
	}
	return fmt.Errorf("%w: %s: %s", ErrUnavailable, d.host, noderpc.Clean(err.Error()))
}

// A busyError says that a service may take the transaction later.
type busyError struct {
	err   error // ErrUnavailable
	after time.Duration
}

func (e *busyError) Error() string { return e.err.Error() }

func (e *busyError) Unwrap() error { return e.err }

// atFault returns the error of a status that says nothing of the transaction, nil
// of any other. 429 and 503 are a *busyError.
func (d *door) atFault(a *answer) error {
	switch {
	case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
		return fmt.Errorf("%w: %w: %s: %w", ErrUnavailable, errUntouched, d.host, ErrUnauthorized)
	case a.status == http.StatusTooManyRequests || a.status == http.StatusServiceUnavailable:
		return &busyError{fmt.Errorf("%w: %w: %s is busy (HTTP status %d)", ErrUnavailable, errUntouched, d.host, a.status), retryAfter(a.header)}
	case a.status == http.StatusNotFound || a.status == http.StatusMethodNotAllowed || a.status/100 == 3:
		return fmt.Errorf("%w: %w: %s has no such service at this address (HTTP status %d)", ErrUnavailable, errUntouched, d.host, a.status)
	case a.status >= 500 || a.status < 200:
		return fmt.Errorf("%w: %s has a fault (HTTP status %d)", ErrUnavailable, d.host, a.status)
	}
	return nil
}

// nonsense is the error of an answer that can't be understood.
func (d *door) nonsense(format string, args ...any) error {
	return fmt.Errorf("%w: the answer of %s makes no sense: %s", ErrUnavailable, d.host, fmt.Sprintf(format, args...))
}

// retryAfter reads the header of that name: seconds, or a date.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return time.Duration(n) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// tries is how often a busy service is asked.
const tries = 4

// persist asks again while a service is busy, as long as ctx leaves time for what
// it asks for.
func persist(ctx context.Context, ask func() error) error {
	for n, wait := 1, firstWait; ; n, wait = n+1, 4*wait {
		err := ask()
		var busy *busyError
		if !errors.As(err, &busy) || n == tries {
			return err
		}
		pause := max(wait, busy.after)
		if end, ok := ctx.Deadline(); ok && time.Until(end) < pause {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}
