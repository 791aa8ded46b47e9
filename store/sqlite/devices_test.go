package sqlite

import (
	"io/fs"
	"path/filepath"
	"reflect"
	"testing"
	"testing/fstest"

	"github.com/portcullis-mfa/portcullis/store"
)

// TestDevicesAreCarriedOver has a store of the schema in which a device was one
// certificate brought up to date.
func TestDevicesAreCarriedOver(t *testing.T) {
	before := fstest.MapFS{}
	for _, name := range must1(fs.Glob(embeddedMigrations(), "*.sql"))(t) {
		if name < "00013" {
			before[name] = &fstest.MapFile{Data: must1(fs.ReadFile(embeddedMigrations(), name))(t)}
		}
	}
	path := filepath.Join(t.TempDir(), "portcullis.db")
	must(t, create(t.Context(), path, migrationFiles{before}))
	old := must1(openConnections(path, upkeepConnection, 1))(t)
	_, err := old.ExecContext(t.Context(), `INSERT INTO users VALUES ('u1', 'ada', '', '', '', 'active', 0, 0, 1, '', '')`)
	must(t, err)
	_, err = old.ExecContext(t.Context(), `INSERT INTO devices VALUES
		('d1', 'u1', 'Laptop', 'c0ffee', '2a', '', 1, 2, 0, '', 3, 4), ('d2', 'u1', 'Phone', 'decaf', '2b', 'CN=Company', 5, 6, 7, 'superseded', 8, 9)`)
	must(t, err)
	must(t, old.Close())

	db := openAt(t, path)
	want := []store.Device{
		{
			ID: "d2", UserID: "u1", Name: "Phone", State: store.DeviceActive, Certificate: "decaf", Serial: "2b", Issuer: "CN=Company",
			Issued: fromMicros(5), Expires: fromMicros(6), Revoked: fromMicros(7), RevokeReason: "superseded", LastSeen: fromMicros(8), Version: 9,
		},
		{
			ID: "d1", UserID: "u1", Name: "Laptop", State: store.DeviceActive, Certificate: "c0ffee", Serial: "2a",
			Issued: fromMicros(1), Expires: fromMicros(2), LastSeen: fromMicros(3), Version: 4,
		},
	}
	got := must1(db.DevicesOf(t.Context(), "u1"))(t)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if one := must1(db.DeviceByCertificate(t.Context(), "c0ffee"))(t); !reflect.DeepEqual(one, want[1]) {
		t.Errorf("by certificate %+v", one)
	}
}

func must1[T any](value T, err error) func(t testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		must(t, err)
		return value
	}
}
