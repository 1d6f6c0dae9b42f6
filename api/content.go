package api

import (
	"bytes"
	"mime"
	"net/http"
	"path"
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
	if _, err := query(r); err != nil {
		return err
	}
	var found *index.Entry
	err := s.view(r, func(v *view) error {
		e, _, err := v.find(r.PathValue("id"))
		found = e
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
	h.Set("ETag", `"`+found.ID.String()+"-"+string(found.Verdict)+`"`)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(found.Message.Body))
	return nil
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
