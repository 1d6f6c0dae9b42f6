package chat

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/color"
	_ "image/gif"  // decodes
	_ "image/jpeg" // decodes
	_ "image/png"  // decodes
	"strings"
)

// A Picture is a picture made small: at most pictureWidth by pictureHeight.
type Picture struct {
	Width, Height int // of the original, pixels
	Small         *image.RGBA
}

const (
	pictureWidth  = 96
	pictureHeight = 96
	// mostPixels bounds what is decoded: a few bytes can say that they hold
	// gigabytes.
	mostPixels       = 16 << 20
	mostPictureBytes = 16 << 20
)

var errPicture = errors.New("not a picture that can be shown here")

// ReadPicture decodes a PNG, JPEG or GIF (its first frame) and makes it small. It
// reads the dimensions first and refuses what has over 16 Mi pixels.
func ReadPicture(body []byte) (*Picture, error) {
	if len(body) > mostPictureBytes {
		return nil, fmt.Errorf("%w: it has over %d bytes", errPicture, mostPictureBytes)
	}
	c, _, err := image.DecodeConfig(bytes.NewReader(body))
	if err != nil || c.Width <= 0 || c.Height <= 0 {
		return nil, errPicture
	}
	if int64(c.Width)*int64(c.Height) > mostPixels {
		return nil, fmt.Errorf("%w: it has %d x %d pixels", errPicture, c.Width, c.Height)
	}
	whole, _, err := image.Decode(bytes.NewReader(body))
	if err != nil {
		return nil, errPicture
	}
	b := whole.Bounds()
	if b.Dx() <= 0 || b.Dy() <= 0 || int64(b.Dx())*int64(b.Dy()) > mostPixels {
		return nil, errPicture
	}
	return &Picture{Width: b.Dx(), Height: b.Dy(), Small: shrink(whole, pictureWidth, pictureHeight)}, nil
}

// shrink makes a picture fit into a box; a smaller one stays as it is. Each pixel
// is the mean of those it stands for, on black where they are transparent.
func shrink(from image.Image, width, height int) *image.RGBA {
	b := from.Bounds()
	w, h := b.Dx(), b.Dy()
	if w > width {
		w, h = width, max(h*width/w, 1)
	}
	if h > height {
		w, h = max(w*height/h, 1), height
	}
	small := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			small.SetRGBA(x, y, mean(from, image.Rect(
				b.Min.X+x*b.Dx()/w, b.Min.Y+y*b.Dy()/h,
				b.Min.X+max((x+1)*b.Dx()/w, x*b.Dx()/w+1), b.Min.Y+max((y+1)*b.Dy()/h, y*b.Dy()/h+1))))
		}
	}
	return small
}

// mean returns the mean colour of a part of a picture, of 16 by 16 samples at
// most.
func mean(from image.Image, part image.Rectangle) color.RGBA {
	var r, g, b, n uint64
	dx, dy := max(part.Dx()/16, 1), max(part.Dy()/16, 1)
	for y := part.Min.Y; y < part.Max.Y; y += dy {
		for x := part.Min.X; x < part.Max.X; x += dx {
			pr, pg, pb, _ := from.At(x, y).RGBA()
			r, g, b, n = r+uint64(pr), g+uint64(pg), b+uint64(pb), n+1
		}
	}
	if n == 0 {
		return color.RGBA{A: 255}
	}
	return color.RGBA{uint8(r / n >> 8), uint8(g / n >> 8), uint8(b / n >> 8), 255} //nolint:gosec // means of 16 bits
}

// rows paints the picture with half blocks, two pixels a cell, in at most so many
// cells. Colours are exact here; the terminal's own are chosen on the way out.
func (p *Picture) rows(width, height int) []string {
	small := shrink(p.Small, max(width, 1), max(2*height, 2))
	b := small.Bounds()
	rows := make([]string, 0, (b.Dy()+1)/2)
	for y := 0; y < b.Dy(); y += 2 {
		var s strings.Builder
		for x := range b.Dx() {
			top := small.RGBAAt(x, y)
			if y+1 == b.Dy() {
				fmt.Fprintf(&s, "\x1b[38;2;%d;%d;%dm\x1b[49m▀", top.R, top.G, top.B)
				continue
			}
			under := small.RGBAAt(x, y+1)
			fmt.Fprintf(&s, "\x1b[38;2;%d;%d;%d;48;2;%d;%d;%dm▀", top.R, top.G, top.B, under.R, under.G, under.B)
		}
		rows = append(rows, s.String()+"\x1b[m")
	}
	return rows
}
