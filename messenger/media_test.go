package messenger

import (
	"strings"
	"testing"
	"unicode"

	"github.com/metaim/metaim/improtocol"
)

const (
	png  = "\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR"
	jpeg = "\xff\xd8\xff\xe0"
	page = "<!DOCTYPE html><script>alert(1)</script>"
)

func TestDetectFile(t *testing.T) {
	for _, c := range []struct {
		name, file, body, want string
		warns                  bool
	}{
		{"as its name says", "photo.png", png, "image/png", false},
		{"in capitals", "PHOTO.PNG", png, "image/png", false},
		{"no extension", "photo", png, "image/png", false},
		{"no extension, text", "notes", "hello", "text/plain", false},
		{"no extension, not UTF-8", "notes", "caf\xe9", Data, false},
		{"unknown extension", "a.unknownext", "hello", "text/plain", false},
		{"a page called a picture", "photo.png", page, "image/png", true},
		{"a JPEG called PNG is an image still", "photo.png", jpeg, "image/png", false},
		{"text that isn't UTF-8", "notes.txt", "caf\xe9", "text/plain", true},
		{"a drawing", "a.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>", "image/svg+xml", false},
		{"empty", "photo.png", "", "image/png", false},
	} {
		got, warning := DetectFile(c.file, []byte(c.body))
		if got != c.want || (warning != "") != c.warns {
			t.Errorf("%s: got %q, warning %q, want %q, warns %t", c.name, got, warning, c.want, c.warns)
		}
	}
	if _, warning := DetectFile("\x1b[31m.png", []byte(page)); strings.Contains(warning, "\x1b") {
		t.Errorf("the warning %q holds an escape", warning)
	}
}

func TestDetectType(t *testing.T) {
	for _, c := range []struct {
		name, kind, body, want string
		text                   bool
	}{
		{"text", improtocol.Text, "hello", "text/plain", true},
		{"empty text", improtocol.Text, "", "text/plain", true},
		{"text that isn't UTF-8", improtocol.Text, "caf\xe9", Data, false},
		{"text that ends in the middle of a letter", improtocol.Text, "caf\xc3", Data, false},
		{"a media type of text", "text/markdown", "# hello", "text/markdown", true},
		{"with parameters", "Text/Plain; charset=utf-8", "hello", "text/plain", true},
		{"a picture", improtocol.Image, png, "image/png", false},
		{"another picture", "image/png", jpeg, "image/png", false},
		{"text called a picture", improtocol.Image, "hello", Data, false},
		{"a page called a picture", "image/png", page, Data, false},
		{"a picture that isn't known", "image/avif", "\x00\x00\x00\x1cftypXXXX\xff", "image/avif", false},
		{"a page", improtocol.HTML, page, "text/html", false},
		{"a page that isn't UTF-8", improtocol.HTML, page + "\xff", Data, false},
		{"sound", improtocol.Audio, "RIFF\x00\x00\x00\x00WAVE", "audio/wave", false},
		{"film", improtocol.Video, "\x1aE\xdf\xa3webm", "video/webm", false},
		{"film that isn't", improtocol.Video, png, Data, false},
		{"any media type", "application/x-thing", "whatever", "application/x-thing", false},
		{"JSON", "application/json", `{"a":1}`, "application/json", true},
		{"JSON that isn't UTF-8", "application/json", "\xff", Data, false},
		{"an unknown word", "poem", "hello", Data, false},
		{"no type", "", "hello", Data, false},
		{"nonsense", "/", "hello", Data, false},
	} {
		got := DetectType(c.kind, []byte(c.body))
		if got != c.want || IsText(got) != c.text {
			t.Errorf("%s: got %q, text %t, want %q, %t", c.name, got, IsText(got), c.want, c.text)
		}
	}
}

func TestSafeFileName(t *testing.T) {
	id := strings.Repeat("ab", 32)
	for _, c := range []struct{ name, in, kind, want string }{
		{"plain", "photo.png", "image/png", "photo.png"},
		{"with spaces and letters", "mein Föto (1).png", "image/png", "mein Föto (1).png"},
		{"none", "", "image/png", "message-abababababababab.png"},
		{"none, unknown type", "", "application/x-thing", "message-abababababababab.bin"},
		{"none, text", "", "text/plain", "message-abababababababab.txt"},
		{"out of the folder", "../../etc/passwd", Data, "passwd"},
		{"absolute", "/etc/passwd", Data, "passwd"},
		{"of Windows", `C:\Windows\system.ini`, Data, "system.ini"},
		{"only dots", "..", Data, "message-abababababababab.bin"},
		{"only a folder", "a/", Data, "message-abababababababab.bin"},
		{"hidden", ".bashrc", Data, "bashrc"},
		{"an option", "-rf", Data, "rf"},
		{"an escape", "a\x1b[31mb", Data, "a_u_1b_[31mb"},
		{"a line break", "a\nb", Data, "a_u_a_b"},
		{"turned around", "photo\u202egnp.exe", Data, "photo_u_202e_gnp.exe"},
		{"what shells read", "$(reboot)`x`|y", Data, "_(reboot)_x__y"},
		{"a stream of Windows", "a.txt:evil", Data, "a.txt_evil"},
		{"a device", "con.txt", Data, "message-abababababababab.bin"},
		{"a numbered device", "COM1", Data, "message-abababababababab.bin"},
		{"dots behind", "a.txt. .", Data, "a.txt"},
		{"a zero byte", "a\x00.txt", Data, "a_u_0_.txt"},
	} {
		got := SafeFileName(c.in, id, c.kind)
		if strings.ReplaceAll(got, "\\", "_") != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
	long := SafeFileName(strings.Repeat("ü", 500)+".png", id, "image/png")
	if len(long) > longestSaved {
		t.Errorf("a long name has %d bytes, want %d at most", len(long), longestSaved)
	}
}

// FuzzSafeFileName: whatever a stranger calls a file, the name is one component
// that can be printed, and neither hidden nor an option.
func FuzzSafeFileName(f *testing.F) {
	for _, s := range []string{"photo.png", "../x", "a\x1b[0m", "\u202e", "CON", strings.Repeat("x", 300), strings.Repeat("0", 112) + "\x7f\x7f", "\xff\xfe"} {
		f.Add(s, "image/png")
	}
	f.Fuzz(func(t *testing.T, in, kind string) {
		name := SafeFileName(in, "0123456789abcdef0123", kind)
		if name == "" || len(name) > longestSaved || strings.ContainsAny(name, `/\`) || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "-") {
			t.Errorf("got %q", name)
		}
		for _, r := range name {
			if !unicode.IsPrint(r) {
				t.Errorf("got %q, which holds %U", name, r)
			}
		}
	})
}
