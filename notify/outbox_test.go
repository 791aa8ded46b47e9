package notify_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/notify"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite"
	"github.com/portcullis-mfa/portcullis/store/sqlite/sqlitetest"
)

// post is a route that notes when what was sent, and fails as it is told.
type post struct {
	mu       sync.Mutex
	sent     []string
	attempts []time.Duration // since the beginning
	began    time.Time
	errs     []error // of the attempts, in turn; the last one stays
}

// count returns how many were sent.
func (p *post) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.sent)
}

func (p *post) Send(_ context.Context, m store.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.attempts = append(p.attempts, time.Since(p.began))
	var err error
	if len(p.errs) > 0 {
		err = p.errs[0]
		if len(p.errs) > 1 {
			p.errs = p.errs[1:]
		}
	}
	if err == nil {
		p.sent = append(p.sent, m.Ref)
	}
	return err
}

// newOutbox is one over a store of its own.
func newOutbox(t *testing.T, p *post) (*notify.Outbox, *sqlite.DB) {
	t.Helper()
	db := sqlitetest.Open(t)
	p.began = time.Now()
	return notify.New(notify.Settings{
		Store: db, Clock: time.Now, Random: rand.Reader, Logger: zap.NewNop(), Routes: map[string]notify.Route{"test": p},
	}), db
}

func queue(t *testing.T, o *notify.Outbox, db *sqlite.DB, ref string, lane store.Lane, patience time.Duration) {
	t.Helper()
	err := db.Atomically(t.Context(), func(tx store.Tx) error {
		return o.Queue(t.Context(), tx, store.Message{Purpose: "test", Ref: ref, Lane: lane}, patience)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// running runs an outbox for a while.
func running(t *testing.T, o *notify.Outbox, d time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var done sync.WaitGroup
	done.Go(func() { o.Run(ctx) })
	time.Sleep(d)
	cancel()
	done.Wait()
}

var errGreylisted = &notify.Failure{Code: "recipient", Status: "450 4.2.0"}

// TestAttempts wants messages tried as often and as long as their lane says.
func TestAttempts(t *testing.T) {
	seconds := func(all ...int) (durations []time.Duration) {
		for _, s := range all {
			durations = append(durations, time.Duration(s)*time.Second)
		}
		return durations
	}
	tests := map[string]struct {
		lane  store.Lane
		errs  []error
		want  []time.Duration
		state store.MessageState
	}{
		"taken":                      {store.LaneCodes, nil, seconds(0), store.MessageHandedOver},
		"nothing to say any more":    {store.LaneCodes, []error{notify.ErrVoid}, seconds(0), store.MessageVoid},
		"taken at the third time":    {store.LaneCodes, []error{errGreylisted, errGreylisted, nil}, seconds(0, 10, 40), store.MessageHandedOver},
		"never taken":                {store.LaneCodes, []error{errGreylisted}, seconds(0, 10, 40, 130, 370), store.MessageFailed},
		"refused for good":           {store.LaneCodes, []error{&notify.Failure{Code: "recipient", Permanent: true}}, seconds(0), store.MessageFailed},
		"nobody knows, twice":        {store.LaneCodes, []error{&notify.Failure{Code: notify.Unknown}}, seconds(0, 10), store.MessageFailed},
		"each attempt may cost":      {store.LaneCodes, []error{&notify.Failure{Code: "gateway", Status: "503", Once: true}}, seconds(0, 10), store.MessageFailed},
		"nobody knows, and it costs": {store.LaneCodes, []error{&notify.Failure{Code: notify.Unknown, Permanent: true}}, seconds(0), store.MessageFailed},
		"the server says when":       {store.LaneCodes, []error{&notify.Failure{Code: "service", Status: "429", After: 20 * time.Second}, nil}, seconds(0, 20), store.MessageHandedOver},
		"the server says too late":   {store.LaneCodes, []error{&notify.Failure{Code: "service", Status: "429", After: 25 * time.Hour}}, seconds(0), store.MessageFailed},
		"a fault of ours":            {store.LaneCodes, []error{errors.New("out of order"), nil}, seconds(0, 10), store.MessageHandedOver},
		"a notice is tried longer":   {store.LaneNotices, []error{errGreylisted}, seconds(0, 60, 360), store.MessageWaiting},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := &post{errs: test.errs}
				o, db := newOutbox(t, p)
				queue(t, o, db, "a", test.lane, 24*time.Hour)
				running(t, o, 10*time.Minute)
				var rounded []time.Duration
				for _, d := range p.attempts {
					rounded = append(rounded, d.Round(10*time.Second))
				}
				if !slices.Equal(rounded, test.want) {
					t.Errorf("it was tried after %v, want %v", p.attempts, test.want)
				}
				if m, err := db.NewestMessage(t.Context(), "test", "a"); err != nil || m.State != test.state || m.Attempts != len(test.want) {
					t.Errorf("the message is %+v, %v; want it %s", m, err, test.state)
				}
			})
		})
	}
}

// TestNothingIsSentTooLate has a message wait longer than it is good for.
func TestNothingIsSentTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &post{}
		o, db := newOutbox(t, p)
		queue(t, o, db, "a", store.LaneCodes, time.Minute)
		time.Sleep(time.Minute)
		running(t, o, time.Minute)
		if len(p.attempts) != 0 {
			t.Errorf("it was tried %d times", len(p.attempts))
		}
	})
}

// TestCodesLeaveFirst has many notices wait before one code.
func TestCodesLeaveFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &post{}
		o, db := newOutbox(t, p)
		for i := range 30 {
			queue(t, o, db, fmt.Sprint("notice ", i), store.LaneNotices, time.Hour)
		}
		queue(t, o, db, "code", store.LaneCodes, time.Hour)
		running(t, o, time.Minute)
		if at := slices.Index(p.sent, "code"); at < 0 || at >= 8 {
			t.Errorf("the code left as number %d of %d", at, len(p.sent))
		}
		if len(p.sent) != 31 {
			t.Errorf("%d of 31 were sent", len(p.sent))
		}
	})
}

// TestWokenAtOnce has a message leave without waiting for the next look.
func TestWokenAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &post{}
		o, db := newOutbox(t, p)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go o.Run(ctx)
		time.Sleep(time.Second)
		queue(t, o, db, "a", store.LaneCodes, time.Hour)
		o.Wake()
		time.Sleep(time.Second)
		if n := p.count(); n != 1 {
			t.Errorf("%d were sent", n)
		}
		cancel()
		time.Sleep(time.Minute)
	})
}

// hangingRoute sends nothing about references that begin with "hang", and takes all the
// time that it is given.
type hangingRoute struct{ *post }

func (h hangingRoute) Send(ctx context.Context, m store.Message) error {
	if strings.HasPrefix(m.Ref, "hang") {
		<-ctx.Done()
		return ctx.Err()
	}
	return h.post.Send(ctx, m)
}

// X08: servers that hang don't hold up what is meant for others.
func TestServersThatHangHoldNobodyUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &post{}
		o, db := newOutbox(t, p)
		o.Routes["test"] = hangingRoute{p}
		for i := range 30 {
			queue(t, o, db, fmt.Sprint("hang ", i), store.LaneCodes, time.Hour)
		}
		for i := range 30 {
			queue(t, o, db, fmt.Sprint("quick ", i), store.LaneNotices, time.Hour)
		}
		running(t, o, 5*time.Second)
		if n := p.count(); n != 30 {
			t.Errorf("%d of 30 were sent", n)
		}
	})
}

// TestTwoOutboxesSendOnce has two nodes look at the same messages.
func TestTwoOutboxesSendOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &post{}
		o, db := newOutbox(t, p)
		other := notify.New(o.Settings)
		for i := range 100 {
			queue(t, o, db, fmt.Sprint(i), store.LaneCodes, time.Hour)
		}
		ctx, cancel := context.WithCancel(t.Context())
		var done sync.WaitGroup
		done.Go(func() { o.Run(ctx) })
		done.Go(func() { other.Run(ctx) })
		time.Sleep(time.Minute)
		cancel()
		done.Wait()
		if slices.Sort(p.sent); len(slices.Compact(p.sent)) != 100 || len(p.attempts) != 100 {
			t.Errorf("%d attempts, %d were sent", len(p.attempts), len(p.sent))
		}
	})
}

// slow is a route that takes longer than it is given.
type slow struct{ attempts int }

func (s *slow) Send(ctx context.Context, _ store.Message) error {
	s.attempts++
	<-ctx.Done()
	return ctx.Err()
}

// TestClosingLeavesTheRestToOthers closes an outbox while it sends: the message is
// sent again once the lease has run out.
func TestClosingLeavesTheRestToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &post{}
		o, db := newOutbox(t, p)
		hanging := &slow{}
		other := notify.New(notify.Settings{
			Store: db, Clock: time.Now, Random: rand.Reader, Logger: zap.NewNop(), Routes: map[string]notify.Route{"test": hanging},
		})
		queue(t, o, db, "a", store.LaneCodes, time.Hour)
		began := time.Now()
		running(t, other, time.Second)
		if took := time.Since(began); took > 5*time.Second || hanging.attempts != 1 {
			t.Errorf("closing took %v after %d attempts", took, hanging.attempts)
		}
		running(t, o, 2*time.Minute)
		if len(p.sent) != 1 {
			t.Errorf("%d were sent", len(p.sent))
		}
	})
}

// costly is a post whose messages cost money, and whose process dies at the first one.
type costly struct {
	post
	died bool
}

func (*costly) Costs(store.Message) bool { return true }

func (c *costly) Send(ctx context.Context, m store.Message) error {
	err := c.post.Send(ctx, m)
	if !c.died {
		c.died = true
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

// TestCostlyMessagesLeaveOnce has the process end while a message is being sent: another
// one doesn't send it again.
func TestCostlyMessagesLeaveOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(costly)
		o, db := newOutbox(t, &c.post)
		o.Routes["test"] = c
		queue(t, o, db, "a", store.LaneCodes, 8*time.Minute)
		running(t, o, time.Second)
		running(t, o, 7*time.Minute)
		m, err := db.NewestMessage(t.Context(), "test", "a")
		if err != nil {
			t.Fatal(err)
		}
		if len(c.attempts) != 1 || m.State != store.MessageFailed || m.Failure != notify.Unknown {
			t.Errorf("%d attempts, and the message is %+v", len(c.attempts), m)
		}
	})
}
