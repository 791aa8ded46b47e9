package harness

import (
	"time"

	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"
)

// Opened returns the tab that the page opens when act is done to it. It may close
// by itself.
func (b *Browser) Opened(act func()) *Browser {
	b.t.Helper()
	opened := chromedp.WaitNewTarget(b.ctx, isTab)
	act()
	select {
	case id := <-opened:
		ctx, _ := chromedp.NewContext(b.ctx, chromedp.WithTargetID(id))
		return openTab(b.t, ctx, b.options)
	case <-time.After(patience):
		b.t.Fatal("no tab was opened")
	}
	return nil
}

// Tabs returns how many tabs the whole browser has open.
func (b *Browser) Tabs() int {
	b.t.Helper()
	targets, err := chromedp.Targets(b.ctx)
	if err != nil {
		b.t.Fatalf("listing the tabs: %v", err)
	}
	tabs := 0
	for _, info := range targets {
		if isTab(info) {
			tabs++
		}
	}
	return tabs
}

func isTab(info *target.Info) bool { return info.Type == "page" }
