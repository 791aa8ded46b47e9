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

// BenchmarkTouchSignOns is the once-a-minute batch of a node with 10,000
// sign-ons in use.
func BenchmarkTouchSignOns(b *testing.B) {
	db, seen := populated(b), make([]store.Activity, 10_000)
	now := time.Now()
	err := db.Atomically(b.Context(), func(tx store.Tx) error {
		for i := range seen {
			seen[i].SignOn = "many-" + strconv.Itoa(i)
			err := tx.CreateSignOn(b.Context(), store.SignOn{ID: seen[i].SignOn, UserID: "42", LastSeen: now, Expires: now.Add(time.Hour)})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Minute)
		for i := range seen {
			seen[i].Seen = now
		}
		if err := db.TouchSignOns(b.Context(), seen); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkWriteAmidTouches is how long a sign-in's write takes while such a
// batch is under way.
func BenchmarkWriteAmidTouches(b *testing.B) {
	db := populated(b)
	seen := make([]store.Activity, 10_000)
	ctx, cancel := context.WithCancel(b.Context())
	touching := make(chan struct{})
	go func() {
		defer close(touching)
		for minute := 0; ctx.Err() == nil; minute++ {
			for i := range seen {
				seen[i] = store.Activity{SignOn: strconv.Itoa(i % 200), Seen: time.Now().Add(time.Duration(minute) * time.Minute)}
			}
			_ = db.TouchSignOns(ctx, seen) // ends with the context
		}
	}()
	for b.Loop() {
		if err := db.AppendEvent(b.Context(), store.Event{Name: "sign_in"}); err != nil {
			b.Fatal(err)
		}
	}
	cancel()
	<-touching
}

// BenchmarkEndSignOn is a revocation: told to its followers when it returns.
func BenchmarkEndSignOn(b *testing.B) {
	db := populated(b)
	defer db.Follow(new(tellings))()
	signOns := 0
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		signOns++
		id := "ending-" + strconv.Itoa(signOns)
		if err := db.CreateSignOn(b.Context(), store.SignOn{ID: id, UserID: "42"}); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
		if err := db.EndSignOn(b.Context(), id, now, "signed out"); err != nil {
			b.Fatal(err)
		}
	}
}
