package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/chromedp/cdproto/accessibility"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
)

// What a page is beside what it shows: to assistive tools, on the wire, while
// it is being drawn, and after a long time.

// Accessible is an element as assistive tools are told of it.
type Accessible struct {
	Role, Name, Description string
	// Properties are further ones, as text: level, live, invalid, focused.
	Properties map[string]string
}

// Accessibility returns what assistive tools are told of the page, in the
// order in which they read it.
func (b *Browser) Accessibility() []Accessible {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	tree, err := chromedp.Call(ctx, accessibility.GetFullAXTree, accessibility.GetFullAXTreeParams{})
	if err != nil || len(tree.Nodes) == 0 {
		b.t.Fatalf("reading the accessibility tree of %d nodes: %v", len(tree.Nodes), err)
	}
	nodes := make(map[accessibility.NodeID]*accessibility.Node, len(tree.Nodes))
	for _, node := range tree.Nodes {
		nodes[node.NodeID] = node
	}
	return readInOrder(nodes, tree.Nodes[0], nil)
}

func readInOrder(nodes map[accessibility.NodeID]*accessibility.Node, at *accessibility.Node, read []Accessible) []Accessible {
	if !at.Ignored {
		element := Accessible{
			Role: plain(at.Role), Name: plain(at.Name), Description: plain(at.Description),
			Properties: make(map[string]string, len(at.Properties)),
		}
		for _, property := range at.Properties {
			element.Properties[string(property.Name)] = plain(property.Value)
		}
		read = append(read, element)
	}
	for _, id := range at.ChildIDs {
		if child := nodes[id]; child != nil {
			read = readInOrder(nodes, child, read)
		}
	}
	return read
}

// plain is a value of the protocol as text.
func plain(value *accessibility.Value) string {
	if value == nil {
		return ""
	}
	var text string
	if json.Unmarshal([]byte(value.Value), &text) == nil {
		return text
	}
	return string(value.Value)
}

// Weigh opens a URL with an empty cache and returns how many bytes came over
// the wire for the page and all that it loads, headers included.
func (b *Browser) Weigh(address string) int {
	b.t.Helper()
	ctx, cancel := context.WithCancel(b.ctx)
	defer cancel()
	traffic := traffic{open: map[network.RequestID]bool{}}
	if err := chromedp.Listen(ctx, traffic.note); err != nil {
		b.t.Fatalf("listening to the network: %v", err)
	}
	b.cache(false)
	b.Navigate(address)
	Eventually(b.t, patience, "all that "+address+" loads", func() bool {
		_, pending := traffic.total()
		return pending == 0 && b.quiet("document.readyState") == "complete"
	})
	b.cache(true)
	bytes, _ := traffic.total()
	return bytes
}

func (b *Browser) cache(used bool) {
	b.t.Helper()
	b.do("setting the cache", chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		if _, err := chromedp.Call(ctx, network.Enable, network.EnableParams{}); err != nil {
			return err
		}
		_, err := chromedp.Call(ctx, network.SetCacheDisabled, network.SetCacheDisabledParams{CacheDisabled: !used})
		return err
	}))
}

// traffic adds up what a tab loads.
type traffic struct {
	mu    sync.Mutex
	open  map[network.RequestID]bool
	bytes float64
}

func (l *traffic) note(event any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch e := event.(type) {
	case *network.EventRequestWillBeSent:
		if e.RedirectResponse != nil {
			l.bytes += e.RedirectResponse.EncodedDataLength
		}
		l.open[e.RequestID] = true
	case *network.EventLoadingFinished:
		l.bytes += e.EncodedDataLength
		delete(l.open, e.RequestID)
	case *network.EventLoadingFailed:
		delete(l.open, e.RequestID)
	}
}

func (l *traffic) total() (bytes, pending int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int(l.bytes), len(l.open)
}

// jsShift adds up the layout shifts (web.dev/cls) since the page began, once
// two more frames were drawn.
const jsShift = `new Promise(resolve => {
	const shifts = {Sum: 0, Moved: []};
	const add = entries => entries.forEach(entry => {
		shifts.Sum += entry.value;
		entry.sources.forEach(source => shifts.Moved.push(source.node?.outerHTML?.slice(0, 100) ?? ""));
	});
	const observer = new PerformanceObserver(list => add(list.getEntries()));
	observer.observe({type: "layout-shift", buffered: true});
	requestAnimationFrame(() => requestAnimationFrame(() => setTimeout(() => {
		add(observer.takeRecords());
		resolve(JSON.stringify(shifts));
	})));
})`

// Shift returns how much of the page has jumped since it was opened, 0 where
// nothing has, and what did.
func (b *Browser) Shift() (sum float64, moved []string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](jsShift, chromedp.EvalAwaitPromise))
	var shifts struct {
		Sum   float64
		Moved []string
	}
	if err == nil {
		err = json.Unmarshal([]byte(text), &shifts)
	}
	if err != nil {
		b.t.Fatalf("reading the layout shifts: %v", err)
	}
	return shifts.Sum, shifts.Moved
}

// jsClock holds timers of more than a second back until harnessPass lets their
// time pass at once.
const jsClock = `(() => {
	const now = Date.now.bind(Date), later = setTimeout.bind(window), never = clearTimeout.bind(window);
	let ahead = 0, last = 0;
	const waiting = new Map();
	Date.now = () => now() + ahead;
	window.setTimeout = (act, wait = 0, ...values) => {
		if (wait < 1000) return later(act, wait, ...values);
		waiting.set(--last, {due: Date.now() + wait, act: () => act(...values)});
		return last;
	};
	window.clearTimeout = id => waiting.delete(id) || never(id);
	window.harnessPass = wait => {
		ahead += wait;
		for (const [id, timer] of [...waiting]) {
			if (timer.due <= Date.now() && waiting.delete(id)) timer.act();
		}
		return "passed";
	};
})()`

// HoldClock has the clock of every page that is opened from now on pass faster
// by Pass. Timers of a second and more wait for it.
func (b *Browser) HoldClock() {
	b.t.Helper()
	b.do("holding the clock", chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: jsClock})
		return err
	}))
}

// Pass lets time pass in the page at once, after HoldClock.
func (b *Browser) Pass(wait time.Duration) {
	b.t.Helper()
	b.Evaluate(fmt.Sprintf(`harnessPass(%d)`, wait.Milliseconds()))
}

// TakeCookies copies what a client would send to the URL, as somebody has it
// who goes on at this browser.
func (b *Browser) TakeCookies(from *Client, address string) {
	b.t.Helper()
	secure, hidden := true, true
	b.do("setting cookies", chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		for _, cookie := range from.Cookies(address) {
			_, err := chromedp.Call(ctx, network.SetCookie, network.SetCookieParams{
				Name: cookie.Name, Value: cookie.Value, URL: address, Path: "/", Secure: &secure, HTTPOnly: &hidden,
				SameSite: network.CookieSameSiteLax,
			})
			if err != nil {
				return err
			}
		}
		return nil
	}))
}
