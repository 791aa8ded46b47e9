package stream

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"
)

// served is what a stream was that somebody listened to from the beginning.
type served struct {
	text string
	took time.Duration
}

// serve runs a stream that says a letter whenever it is asked, until it ends.
func serve(ctx context.Context, s Source, say func(asked int) (string, bool)) served {
	w, begun, asked := httptest.NewRecorder(), time.Now(), 0
	Serve(w, httptest.NewRequest(http.MethodGet, "/", nil).WithContext(ctx), s, func() (string, bool) {
		asked++
		return say(asked)
	})
	return served{w.Body.String(), time.Since(begun)}
}

func never() bool { return false }

func always(int) (string, bool) { return "a", true }

func TestStreamsEnd(t *testing.T) {
	begun := func(after time.Duration) func() bool {
		begin := time.Now()
		return func() bool { return time.Since(begin) >= after }
	}
	for name, test := range map[string]struct {
		run  func(t *testing.T) served
		want served
	}{
		"in time": {
			func(t *testing.T) served { return serve(t.Context(), Source{Ending: never}, always) },
			served{"a", Lifetime},
		},
		"with the server": {
			func(t *testing.T) served {
				return serve(t.Context(), Source{Ending: begun(1500 * time.Millisecond)}, always)
			},
			served{"a", 2 * time.Second},
		},
		"with the client": {
			func(t *testing.T) served {
				ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
				defer cancel()
				return serve(ctx, Source{Ending: never}, always)
			},
			served{"a", 3 * time.Second},
		},
		"when all is said": {
			func(t *testing.T) served {
				return serve(t.Context(), Source{Every: 5 * time.Second, Ending: never}, func(asked int) (string, bool) { return "a", asked < 3 })
			},
			served{"aaa", 10 * time.Second},
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if got := test.run(t); got != test.want {
					t.Errorf("it said %q for %s, want %q for %s", got.text, got.took, test.want.text, test.want.took)
				}
			})
		})
	}
}

func TestStreamsTellAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		heard := make(chan struct{}, 1)
		heard <- struct{}{}
		got := serve(t.Context(), Source{Heard: heard, Ending: never}, func(asked int) (string, bool) { return "a", asked < 2 })
		if want := (served{"aa", 0}); got != want {
			t.Errorf("it said %q after %s", got.text, got.took)
		}
	})
}

func TestRoomIsBounded(t *testing.T) {
	room := Room{Each: 2, All: 3}
	enter := func(holder string, want bool) func() {
		t.Helper()
		leave, ok := room.Enter(holder)
		if ok != want {
			t.Errorf("%s got a place: %t", holder, ok)
		}
		return leave
	}
	first := enter("ada", true)
	enter("ada", true)
	enter("ada", false)
	enter("bob", true)
	enter("eve", false)
	first()
	enter("ada", true)()
	enter("eve", true)()
	if room.all != 2 || len(room.holders) != 2 {
		t.Errorf("two streams are open, and the room counts %d of %v", room.all, room.holders)
	}
}
