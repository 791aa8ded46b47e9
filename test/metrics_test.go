package test

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/scene"
)

// expectMetrics holds what a server tells against what has happened to it, and against
// the reference.
func expectMetrics(t *testing.T, s *scene.Scene, lines ...string) {
	t.Helper()
	told, err := s.AdminGet("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		if !regexp.MustCompile(`(?m)^` + line + `$`).MatchString(told) {
			t.Errorf("the metrics lack %s", line)
		}
	}
	var served []string
	for _, found := range regexp.MustCompile(`(?m)^# TYPE (caddy_mfa_\w+) `).FindAllStringSubmatch(told, -1) {
		served = append(served, found[1])
	}
	reference := string(read(t, moduleRoot(t)+"/docs/reference.md"))
	_, section, _ := strings.Cut(reference, "\n## Metrics\n")
	section, _, _ = strings.Cut(section, "\n## ")
	served = slices.DeleteFunc(served, func(name string) bool { return strings.Contains(section, "\n| `"+name+"` |") })
	if len(served) > 0 {
		t.Errorf("the reference doesn't list %v", served)
	}
}
