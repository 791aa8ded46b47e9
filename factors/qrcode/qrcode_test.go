package qrcode

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"image"
	"image/color"
	"image/png"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// drawing is what a browser would take from the SVG.
type drawing struct {
	Name  xml.Name
	Box   string `xml:"viewBox,attr"`
	Role  string `xml:"role,attr"`
	Label string `xml:"aria-label,attr"`
	Rects []struct {
		Width  int    `xml:"width,attr"`
		Height int    `xml:"height,attr"`
		Fill   string `xml:"fill,attr"`
	} `xml:"rect"`
	Paths []struct {
		Fill string `xml:"fill,attr"`
		D    string `xml:"d,attr"`
	} `xml:"path"`
}

func TestQRCodeIsReadByAnotherProgram(t *testing.T) {
	if _, err := exec.LookPath("zbarimg"); err != nil {
		t.Skip("NOT TESTED: zbarimg, the independent reader, is not installed (Debian package zbar-tools)")
	}
	for _, content := range []string{
		"otpauth://totp/Example:alice?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=Example&algorithm=SHA1&digits=6&period=30",
		"otpauth://totp/" + strings.Repeat("long%20", 60) + ":" + strings.Repeat("a", 100) + "?secret=" + strings.Repeat("A", 103),
	} {
		code, err := Draw(content)
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(t.TempDir(), "qr.png")
		var file bytes.Buffer
		if err := png.Encode(&file, paint(t, string(code))); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		read, err := exec.Command("zbarimg", "--quiet", "--raw", path).Output()
		if err != nil || strings.TrimSpace(string(read)) != content {
			t.Errorf("read %q, %v, want %q", read, err, content)
		}
	}
}

func parseDrawing(t *testing.T, svg string) (drawing, int) {
	t.Helper()
	var d drawing
	if err := xml.Unmarshal([]byte(svg), &d); err != nil {
		t.Fatal(err)
	}
	var size, height int
	if _, err := fmt.Sscanf(d.Box, "0 0 %d %d", &size, &height); err != nil || size != height {
		t.Fatalf("viewBox %q", d.Box)
	}
	if len(d.Paths) != 1 || len(d.Rects) != 1 {
		t.Fatalf("%d paths, %d rectangles", len(d.Paths), len(d.Rects))
	}
	return d, size
}

// paint draws the path as its commands say, a few pixels a module.
func paint(t *testing.T, svg string) image.Image {
	t.Helper()
	const scale = 4
	d, size := parseDrawing(t, svg)
	picture := image.NewGray(image.Rect(0, 0, size*scale, size*scale))
	for i := range picture.Pix {
		picture.Pix[i] = 0xff
	}
	for run := range strings.SplitSeq(strings.TrimSuffix(d.Paths[0].D, "z"), "z") {
		var x, y, width, back int
		if _, err := fmt.Sscanf(run, "M%d %dh%dv1h-%d", &x, &y, &width, &back); err != nil || width != back {
			t.Fatalf("path %q: %v", run, err)
		}
		for px := x * scale; px < (x+width)*scale; px++ {
			for py := y * scale; py < (y+1)*scale; py++ {
				picture.SetGray(px, py, color.Gray{})
			}
		}
	}
	return picture
}

func TestQRCodeForm(t *testing.T) {
	code, err := Draw("otpauth://totp/Example:alice?secret=AAAA")
	if err != nil {
		t.Fatal(err)
	}
	d, size := parseDrawing(t, string(code))
	if d.Name.Local != "" && d.Name.Local != "svg" || d.Role != "img" || d.Label == "" {
		t.Errorf("role %q, label %q", d.Role, d.Label)
	}
	if rect := d.Rects[0]; rect.Width != size || rect.Height != size || rect.Fill != "#fff" || d.Paths[0].Fill != "#000" {
		t.Error("not black on white all over")
	}
	picture := paint(t, string(code))
	edge := picture.Bounds().Dx() / size * 4
	for x := range picture.Bounds().Dx() {
		for y := range picture.Bounds().Dy() {
			inside := image.Pt(x, y).In(picture.Bounds().Inset(edge))
			if !inside && picture.At(x, y) != (color.Gray{Y: 0xff}) {
				t.Fatalf("dark at %d,%d in the quiet zone of 4 modules", x, y)
			}
		}
	}
	if picture.At(edge, edge) != (color.Gray{}) {
		t.Error("the quiet zone is wider than 4 modules")
	}
	// What a policy without inline code and styles forbids.
	decoder := xml.NewDecoder(strings.NewReader(string(code)))
	for {
		token, err := decoder.Token()
		if err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		element, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		for _, attribute := range element.Attr {
			if name := attribute.Name.Local; name == "style" || strings.HasPrefix(name, "on") || name == "href" {
				t.Errorf("attribute %s", name)
			}
		}
	}
}

func TestQRCodeTooLong(t *testing.T) {
	if _, err := Draw(strings.Repeat("a", 5000)); err == nil {
		t.Error("more than a QR code holds was drawn")
	}
}
