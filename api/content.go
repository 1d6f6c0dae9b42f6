package api

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"path"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/metaim/metaim/api/client"
	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/index"
)

// getContent gives the bytes of a message as their media type. They come from
// strangers: nothing in them runs in our origin, and what a browser might run or
// follow is handed over as a file.
func (s *Server) getContent(w http.ResponseWriter, r *http.Request) error {
	var found *index.Entry
	var deep int32
	err := s.view(r, func(v *view) error {
		e, _, err := v.find(r.PathValue("id"))
		if err == nil {
			found, deep = e, v.confirmations(e)
		}
		return err
	})
	if err != nil {
		return err
	}
	if found.Message == nil {
		return notFound("this message can't be read, so it has no content")
	}
	mediaType, inline := mediaType(found)
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Content-Disposition", disposition(found, inline))
	h.Set("Cache-Control", "no-cache")
	if deep >= deepBlocks {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	// The bytes of an id never change; how they are shown depends on the verdict.
	h.Set("ETag", `"`+found.ID.String()+"-"+string(found.Verdict)+`"`)
	if err := checkRange(r, len(found.Message.Body)); err != nil {
		h.Set("Content-Range", fmt.Sprintf("bytes */%d", len(found.Message.Body)))
		return err
	}
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(found.Message.Body))
	return nil
}

// deepBlocks is how many blocks deep a message must be to count as settled: no
// reorganisation of that depth is to be expected.
const deepBlocks = 100

// rangesMost is how many parts of a content one request may ask for.
const rangesMost = 8

// checkRange refuses ranges that can't be served, so that the answer is a problem
// like any other.
func checkRange(r *http.Request, size int) error {
	unit, list, ok := strings.Cut(r.Header.Get("Range"), "=")
	if !ok || unit != "bytes" {
		r.Header.Del("Range") // what isn't known is passed over
		return nil
	}
	readable, within := true, false
	for part := range strings.SplitSeq(list, ",") {
		begin, ok := rangeStart(strings.TrimSpace(part), size)
		readable, within = readable && ok, within || ok && begin < size
	}
	switch {
	case readable && within && strings.Count(list, ",") < rangesMost:
		return nil
	case r.Header.Get("If-Range") != "":
		r.Header.Del("Range") // it was a wish
		return nil
	}
	return problem(http.StatusRequestedRangeNotSatisfiable, "bad_range", "the content has %d bytes; ask for up to %d ranges of it", size, rangesMost)
}

// rangeStart reads a range, such as 0-9, 10- or -5, and returns where in a content
// of a size it begins.
func rangeStart(part string, size int) (begin int, ok bool) {
	from, to, ok := strings.Cut(part, "-")
	if !ok {
		return 0, false
	}
	last, err := strconv.ParseUint(to, 10, 62)
	switch {
	case from == "" && (err != nil || last == 0):
		return size, err == nil
	case from == "":
		return size - int(min(last, uint64(size))), true
	}
	first, failed := strconv.ParseUint(from, 10, 62)
	if failed != nil || to != "" && (err != nil || last < first) {
		return 0, false
	}
	return int(min(first, uint64(size))), true
}

const octets = "application/octet-stream"

// mediaType returns the media type to serve a message as, and whether a browser
// may show it in place: pictures, sound, film and text of messages that count.
func mediaType(e *index.Entry) (mediaType string, inline bool) {
	m := e.Message
	if m.Encryption != improtocol.Plain || !counts(e.Verdict) {
		return octets, false
	}
	switch m.Type {
	case improtocol.Text:
		return "text/plain; charset=utf-8", true
	case improtocol.HTML:
		return "text/html; charset=utf-8", false
	case improtocol.Image, improtocol.Audio, improtocol.Video:
		sniffed := http.DetectContentType(m.Body)
		if strings.HasPrefix(sniffed, m.Type+"/") {
			return sniffed, true
		}
		return octets, false
	}
	said, parameters, err := mime.ParseMediaType(m.Type)
	kind, sub, ok := strings.Cut(said, "/")
	if err != nil || !ok {
		return octets, false
	}
	written := mime.FormatMediaType(said, parameters)
	if written == "" {
		return octets, false
	}
	switch kind {
	case "image":
		return written, !strings.Contains(sub, "xml")
	case "audio", "video":
		return written, true
	}
	return written, said == "text/plain"
}

// disposition says how to show a content, with the name that its sender gave it
// when that is a usable one.
func disposition(e *index.Entry, inline bool) string {
	how := "attachment"
	if inline {
		how = "inline"
	}
	name := client.ParseOther(e.Message.Other)[improtocol.OtherName]
	name = path.Base(strings.ReplaceAll(name, `\`, "/"))
	unusable := func(r rune) bool {
		return r < 0x20 || r >= 0x7f && r <= 0x9f || r >= 0x200e && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	}
	if name == "." || name == "/" || name == ".." || len(name) > 128 || !utf8.ValidString(name) || strings.ContainsFunc(name, unusable) {
		return how
	}
	if text := mime.FormatMediaType(how, map[string]string{"filename": name}); text != "" {
		return text
	}
	return how
}
