package messenger

import (
	"bytes"
	"fmt"
	"mime"
	"net/http"
	"path/filepath"
	"strings"
	"unicode/utf8"

	"github.com/metaim/metaim/improtocol"
	"github.com/metaim/metaim/internal/safetext"
)

// Data is the media type of what is nothing else.
const Data = "application/octet-stream"

// extensions are the media types of usual file names: the tables of a system
// differ from machine to machine, and a message type is signed. Others are asked
// of the system.
var extensions = map[string]string{
	".txt": "text/plain", ".md": "text/markdown", ".csv": "text/csv", ".html": "text/html", ".htm": "text/html", ".css": "text/css",
	".json": "application/json", ".xml": "application/xml", ".pdf": "application/pdf", ".zip": "application/zip", ".gz": "application/gzip",
	".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp", ".svg": "image/svg+xml",
	".avif": "image/avif", ".bmp": "image/bmp", ".ico": "image/x-icon", ".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".opus": "audio/ogg",
	".oga": "audio/ogg", ".flac": "audio/flac", ".wav": "audio/wav", ".m4a": "audio/mp4", ".mp4": "video/mp4", ".webm": "video/webm",
	".mov": "video/quicktime", ".bin": Data,
}

// DetectFile returns the message type for a file: by its name's extension, else
// by its content. When the two contradict each other, warning says so; what the
// name says is kept.
func DetectFile(name string, body []byte) (kind, warning string) {
	ext := strings.ToLower(filepath.Ext(name))
	kind = extensions[ext]
	if kind == "" {
		kind = bare(mime.TypeByExtension(ext))
	}
	sniffed := sniff(body)
	switch {
	case kind == "":
		return sniffed, ""
	case contradicts(kind, sniffed, body):
		return kind, fmt.Sprintf("%s is sent as %s, as its name says; its content looks like %s: --type says otherwise", safetext.Line(filepath.Base(name)), kind, sniffed)
	}
	return kind, ""
}

// bare cuts the parameters off a media type.
func bare(kind string) string {
	kind, _, _ = strings.Cut(kind, ";")
	return strings.ToLower(strings.TrimSpace(kind))
}

// sniff returns the media type that the first bytes show: text/plain only when
// all of it is UTF-8.
func sniff(body []byte) string {
	kind := bare(http.DetectContentType(body))
	if strings.HasPrefix(kind, "text/") && !utf8.Valid(body) {
		return Data
	}
	return kind
}

// contradicts tells whether content isn't what it is said to be. Many formats
// show nothing by which they could be told: these are believed.
func contradicts(said, sniffed string, body []byte) bool {
	class := func(kind string) string { c, _, _ := strings.Cut(kind, "/"); return c }
	switch class(said) {
	case "text":
		return !utf8.Valid(body)
	case "image", "audio", "video":
		if said == "image/svg+xml" || sniffed == Data {
			return said == "image/svg+xml" && !utf8.Valid(body)
		}
		// Ogg and MP4 hold sound and pictures alike.
		moving := class(said) != "image" && (class(sniffed) != "image" && class(sniffed) != "text" && sniffed != "application/pdf")
		return len(body) > 0 && class(sniffed) != class(said) && !moving
	}
	if said == "application/json" || said == "application/xml" {
		return !utf8.Valid(body)
	}
	return false
}

// words are the message types that have a word of their own, and a media type
// that each may be.
var words = map[string]string{
	improtocol.Text: "text/plain", improtocol.Image: "image", improtocol.Audio: "audio", improtocol.Video: "video", improtocol.HTML: "text/html",
}

// DetectType returns what a message's body is, as its message type says and its
// content confirms: a media type, with [Data] for what isn't what it is said to
// be, or has no type that is known. Only content that is said to be text and is
// UTF-8 is text.
func DetectType(messageType string, body []byte) string {
	kind := bare(messageType)
	if word, ok := words[messageType]; ok {
		kind = word
	}
	sniffed := sniff(body)
	switch kind {
	case "image", "audio", "video":
		if strings.HasPrefix(sniffed, kind+"/") || sniffed == "application/ogg" && kind != "image" {
			return sniffed
		}
		return Data
	}
	if _, _, err := mime.ParseMediaType(kind); err != nil || !strings.Contains(kind, "/") || contradicts(kind, sniffed, body) {
		return Data
	}
	return kind
}

// IsText tells whether content of a media type is shown as text. HTML isn't: its
// source says something else than its page.
func IsText(mediaType string) bool {
	return strings.HasPrefix(mediaType, "text/") && mediaType != "text/html" || mediaType == "application/json"
}

// extensionOf returns the usual extension of a media type, with its dot; ".bin"
// when none is known.
func extensionOf(mediaType string) string {
	best := ""
	for ext, kind := range extensions {
		if kind == mediaType && (best == "" || len(ext) < len(best) || len(ext) == len(best) && ext < best) {
			best = ext
		}
	}
	if best == "" {
		return ".bin"
	}
	return best
}

// longestSaved is the most bytes of a file name that is made of a stranger's.
const longestSaved = 120

// SafeFileName makes the name under which a message may be saved of the file name
// that its sender gave: without folders, control characters, a dot in front and
// what some system gives a meaning. Nothing usable left, it is made of the
// message's id and media type.
func SafeFileName(name, id, mediaType string) string {
	if i := strings.LastIndexAny(name, `/\`); i >= 0 {
		name = name[i+1:]
	}
	var b strings.Builder
	for _, r := range safetext.Line(name) {
		if b.Len() > longestSaved-utf8.UTFMax {
			break
		}
		if strings.ContainsRune(`<>:"|?*\{}`+"`$", r) {
			r = '_'
		}
		b.WriteRune(r)
	}
	name = strings.TrimRight(strings.TrimLeft(b.String(), ". -"), ". ")
	stem, _, _ := strings.Cut(name, ".")
	if name == "" || isDevice(stem) {
		return "message-" + id[:min(16, len(id))] + extensionOf(mediaType)
	}
	return name
}

// isDevice tells the names that are devices on Windows in every folder.
func isDevice(stem string) bool {
	stem = strings.ToUpper(strings.TrimSpace(stem))
	switch stem {
	case "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$":
		return true
	}
	return len(stem) == 4 && (strings.HasPrefix(stem, "COM") || strings.HasPrefix(stem, "LPT")) && bytes.ContainsAny([]byte{stem[3]}, "0123456789")
}
