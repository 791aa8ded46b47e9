// Package qrcode draws QR codes for pages. It must not know what they are for.
package qrcode

import (
	"fmt"
	"html/template"
	"image/color"
	"strings"

	"github.com/boombuler/barcode/qr"
)

// quietZone is the light margin that scanners need, in modules:
// ISO/IEC 18004 §5.3.8.
const quietZone = 4

// Draw draws the content as an inline SVG, black on white whatever the
// page's colours, without style attributes, which our CSP forbids. It has no
// size of its own but the viewBox.
func Draw(content string) (template.HTML, error) {
	matrix, err := qr.Encode(content, qr.M, qr.Auto)
	if err != nil {
		return "", err
	}
	modules := matrix.Bounds().Dx()
	dark := func(x, y int) bool { return x < modules && color.GrayModel.Convert(matrix.At(x, y)) == color.Gray{} }

	var path strings.Builder
	for y := range modules {
		for x := 0; x < modules; x++ {
			start := x
			for dark(x, y) {
				x++
			}
			if run := x - start; run > 0 {
				fmt.Fprintf(&path, "M%d %dh%dv1h-%dz", start+quietZone, y+quietZone, run, run)
			}
		}
	}
	size := modules + 2*quietZone
	// Numbers and constants only: nothing of the content gets into the markup.
	return template.HTML(fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" aria-label="QR code" shape-rendering="crispEdges">`+
		`<rect width="%d" height="%d" fill="#fff"/><path fill="#000" d="%s"/></svg>`, size, size, size, size, path.String())), nil
}
