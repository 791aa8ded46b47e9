package postgres

import (
	"testing"

	"github.com/portcullis-mfa/portcullis/store/conformance"
	"github.com/portcullis-mfa/portcullis/test/pgserver"
)

func TestConformance(t *testing.T) {
	conformance.Run(t, func(t *testing.T) conformance.Handles {
		database := newDatabase(t)
		way, err := pgserver.NewWay(server.Socket())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := way.Close(); err != nil {
				t.Error(err)
			}
		})
		return conformance.Handles{
			First:  openAt(t, Settings{URL: server.URL(database)}),
			Second: openAt(t, Settings{URL: way.URL(database)}),
			Cut: func() func() {
				way.Cut()
				return way.Restore
			},
		}
	})
}
