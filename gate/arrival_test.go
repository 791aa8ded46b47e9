package gate

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"testing"
	"unsafe"
)

// TestAnArrivalIsRememberedWhole wants everything again that rules can look at,
// whatever handlers have made of the request meanwhile.
func TestAnArrivalIsRememberedWhole(t *testing.T) {
	local := &http.Server{}
	ctx := context.WithValue(context.WithValue(t.Context(), http.ServerContextKey, local), http.LocalAddrContextKey, "here")
	came := func() *http.Request {
		r := httptest.NewRequest(http.MethodPost, "/a%2Fb?c=d", strings.NewReader("body")).WithContext(ctx)
		r.Host, r.RemoteAddr, r.TransferEncoding = "app.example.com", "192.0.2.1:1", []string{"chunked"}
		r.Header["X-Kind"] = []string{"one", "two"}
		return r
	}
	r, remembered := came(), new(arrival)
	r.TLS = &tls.ConnectionState{ServerName: "app.example.com"}
	want := r.TLS
	remembered.note(r, testNow)
	r.Method, r.Host, r.RequestURI, r.RemoteAddr, r.TLS, r.URL.Path, r.URL.RawQuery = "PUT", "x", "/x", "x", nil, "/x", ""
	r.Header["X-Kind"][0] = "x"
	r.Header.Set("X-New", "x")
	again := remembered.request(context.Background())
	if again.TLS != want || again.Context().Value(http.ServerContextKey) != local || again.Context().Value(http.LocalAddrContextKey) != "here" {
		t.Errorf("it came over %v, to %v", again.TLS, again.Context())
	}
	expected := came().WithContext(again.Context())
	expected.TLS, expected.Body = want, http.NoBody
	if *again.URL != *expected.URL {
		t.Errorf("the URL is %#v, not %#v", again.URL, expected.URL)
	}
	again.URL = expected.URL
	if !reflect.DeepEqual(again, expected) {
		t.Errorf("remembered as %+v, not %+v", again, expected)
	}
}

// A request that is remembered allocates nothing for it.
func TestRememberingARequestAllocatesNothing(t *testing.T) {
	r, remembered := navigate("/x"), new(arrival)
	for range 20 {
		r.Header.Add("X-Header", "value")
	}
	if n := testing.AllocsPerRun(100, func() { remembered.note(r, testNow) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// TestARequestStaysSmall holds what each request costs, which is one allocation.
func TestARequestStaysSmall(t *testing.T) {
	const most = 1792 // one of the sizes that the runtime allocates
	if size := unsafe.Sizeof(request{}); size > most {
		t.Errorf("%d bytes, not %d at most", size, most)
	}
}
