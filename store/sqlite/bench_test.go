package sqlite

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

// populated returns a store of a small company, 200 users with a sign-on each.
func populated(b *testing.B) *DB {
	b.Helper()
	db := openNew(b)
	now := time.Now()
	err := db.Atomically(b.Context(), func(tx store.Tx) error {
		for i := range 200 {
			id := strconv.Itoa(i)
			err := tx.CreateUser(b.Context(), store.User{
				ID: id, Name: "user" + id, DisplayName: "User " + id, Email: "user" + id + "@example.com",
				Groups: []string{"engineers", "oncall"}, Status: store.UserActive, Created: now,
			})
			if err != nil {
				return err
			}
			err = tx.CreateSignOn(b.Context(), store.SignOn{
				ID: id, UserID: id, Started: now, Expires: now.Add(12 * time.Hour), Idle: time.Hour, LastSeen: now,
				Proofs:        []assurance.Proof{{Factor: assurance.Password, At: now}, {Factor: assurance.TOTP, At: now}},
				PortalSession: "0123456789abcdef", Address: "192.0.2.1", UserAgent: "Mozilla/5.0 (X11; Linux x86_64)",
			})
			if err != nil {
				return err
			}
		}
		return tx.CreateCredential(b.Context(), store.Credential{ID: "c", UserID: "0", Kind: assurance.TOTP})
	})
	if err != nil {
		b.Fatal(err)
	}
	return db
}

func BenchmarkSignOnByID(b *testing.B) {
	db := populated(b)
	benchmarkReads(b, func(ctx context.Context) error {
		_, err := db.SignOnByID(ctx, "42")
		return err
	})
}

func BenchmarkUserByID(b *testing.B) {
	db := populated(b)
	benchmarkReads(b, func(ctx context.Context) error {
		_, err := db.UserByID(ctx, "42")
		return err
	})
}

// benchmarkReads measures reads one after the other and at once, under a
// context that can end, as that of a request.
func benchmarkReads(b *testing.B, read func(context.Context) error) {
	b.Run("alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if err := read(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if err := read(b.Context()); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func BenchmarkCompareAndSet(b *testing.B) {
	db := populated(b)
	c, err := db.CredentialByID(b.Context(), "c")
	if err != nil {
		b.Fatal(err)
	}
	c.Secret = make([]byte, 64)
	b.ReportAllocs()
	for b.Loop() {
		if err := db.UpdateCredential(b.Context(), c); err != nil {
			b.Fatal(err)
		}
		c.Version++
	}
}
