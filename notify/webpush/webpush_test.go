package webpush

import (
	"bytes"
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/push"
	"github.com/portcullis-mfa/portcullis/factors/push/message"
	"github.com/portcullis-mfa/portcullis/notify"
)

func decoded(t *testing.T, encoded string) []byte {
	t.Helper()
	raw, ok := message.Decode(encoded)
	if !ok {
		t.Fatalf("%q isn't base64url", encoded)
	}
	return raw
}

// The example of RFC 8291 §5.
func TestExampleOfTheStandard(t *testing.T) {
	sender, err := ecdh.P256().NewPrivateKey(decoded(t, "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"))
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := ecdh.P256().NewPublicKey(decoded(t, "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"))
	if err != nil {
		t.Fatal(err)
	}
	got, err := encrypt([]byte("When I grow up, I want to be a watermelon"), receiver, decoded(t, "BTBZMqHH6r4Tts7J_aSIgg"), sender, decoded(t, "DGv6ra1nlYgDCS1FRnbzlw"), 0)
	if err != nil {
		t.Fatal(err)
	}
	want := "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
	if message.Encode(got) != want {
		t.Errorf("encrypted %s, want %s", message.Encode(got), want)
	}
}

func TestBodiesHaveOneSize(t *testing.T) {
	key, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sizes := make(map[int]bool)
	for _, n := range []int{0, 1, 500, padded - 1} {
		body, err := encrypt(bytes.Repeat([]byte("a"), n), key.PublicKey(), make([]byte, 16), key, make([]byte, 16), padded)
		if err != nil {
			t.Fatal(err)
		}
		sizes[len(body)] = true
	}
	if len(sizes) != 1 {
		t.Errorf("bodies of the sizes %v", sizes)
	}
}

// U05: where nothing is sent.
func TestPublicAddresses(t *testing.T) {
	for _, address := range []string{
		"127.0.0.1", "::1", "10.1.2.3", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::",
		"::ffff:127.0.0.1", "::ffff:10.0.0.1", "64:ff9b::7f00:1", "fd00::1", "fe80::1", "fec0::1", "2002:7f00:1::", "224.0.0.1", "255.255.255.255",
	} {
		if isPublic(netip.MustParseAddr(address)) {
			t.Errorf("%s counts as public", address)
		}
	}
	for _, address := range []string{"8.8.8.8", "2a00:1450:4001:80e::200e"} {
		if !isPublic(netip.MustParseAddr(address)) {
			t.Errorf("%s doesn't count as public", address)
		}
	}
}

func TestServicesThatAreAllowed(t *testing.T) {
	allows := Allows([]string{"push.example.com", "*.p.example.org"})
	for written, want := range map[string]bool{
		"https://fcm.googleapis.com/fcm/send/x": true, "https://updates.push.services.mozilla.com/x": true, "https://web.push.apple.com/x": true,
		"https://push.example.com/x": true, "https://a.p.example.org/x": true, "https://PUSH.example.com/x": true,
		"http://push.example.com/x": false, "https://evil.example/x": false, "https://fcm.googleapis.com.evil.example/x": false,
		"https://evilpush.example.com/x": false, "https://p.example.org/x": false, "https://u:p@push.example.com/x": false,
	} {
		endpoint, err := url.Parse(written)
		if err != nil {
			t.Fatal(err)
		}
		if allows(endpoint) != want {
			t.Errorf("%s: %t", written, !want)
		}
	}
}

// service is a push service and one phone that is subscribed there.
func service(t *testing.T, answer http.HandlerFunc) (*Sender, factors.Letter, *[]string) {
	t.Helper()
	server := httptest.NewTLSServer(answer)
	t.Cleanup(server.Close)
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	receiver, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	var dropped []string
	s := New(Settings{
		Key: key, Subject: "mailto:it@example.com", Allowed: func(*url.URL) bool { return true }, Clock: time.Now,
		Text: func(_, key string, _ map[string]any) string { return key },
		Drop: func(_ context.Context, phone push.Phone) error {
			dropped = append(dropped, phone.Thumbprint)
			return nil
		},
	})
	s.client.Transport = server.Client().Transport
	phone := push.Phone{Thumbprint: "t1", Subscription: &message.Subscription{
		Endpoint: server.URL + "/secret", Key: message.Encode(receiver.PublicKey().Bytes()), Secret: message.Encode(make([]byte, 16)),
	}}
	return s, factors.Letter{Content: push.Notification{Phones: map[string]push.Phone{"c1": phone}, Expires: time.Now().Add(time.Minute)}}, &dropped
}

func TestWhatAServiceIsSent(t *testing.T) {
	var got http.Header
	s, letter, _ := service(t, func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		w.WriteHeader(http.StatusCreated)
	})
	if _, err := s.Write(t.Context(), "", letter); err != nil {
		t.Fatal(err)
	}
	if got.Get("Content-Encoding") != "aes128gcm" || got.Get("Urgency") != "high" || got.Get("Ttl") == "" || len(got.Get("Topic")) != 32 ||
		!strings.HasPrefix(got.Get("Authorization"), "vapid t=") {
		t.Errorf("the service got %v", got)
	}
}

func TestWhatServicesAnswer(t *testing.T) {
	for status, want := range map[int]struct{ permanent, dropped bool }{
		404: {true, true}, 410: {true, true}, 400: {true, false}, 403: {true, false}, 413: {true, false}, 302: {true, false},
		429: {false, false}, 500: {false, false}, 503: {false, false},
	} {
		asked := 0
		s, letter, dropped := service(t, func(w http.ResponseWriter, _ *http.Request) {
			asked++
			w.Header().Set("Location", "https://127.0.0.1/")
			w.WriteHeader(status)
		})
		failure := new(notify.Failure)
		if _, err := s.Write(t.Context(), "", letter); !errors.As(err, &failure) || failure.Permanent != want.permanent ||
			(len(*dropped) > 0) != want.dropped || asked != 1 || strings.Contains(err.Error(), "secret") {
			t.Errorf("%d: %v after %d requests, dropped %v", status, err, asked, *dropped)
		}
	}
}

// U05: even a name that is allowed isn't connected to where it leads inside.
func TestNothingIsSentInside(t *testing.T) {
	s, letter, _ := service(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	s.client = newClient(nil, newDialer())
	if _, err := s.Write(t.Context(), "", letter); err == nil || !strings.Contains(err.Error(), "isn't a public address") {
		t.Errorf("sending inside: %v", err)
	}
}

// withPhone adds a phone that is subscribed at another path of the same service.
func withPhone(letter factors.Letter, id, path string) {
	phones := letter.Content.(push.Notification).Phones
	subscription := *phones["c1"].Subscription
	subscription.Endpoint = strings.TrimSuffix(subscription.Endpoint, "/secret") + path
	phones[id] = push.Phone{Thumbprint: id, Subscription: &subscription}
}

// A phone whose service hangs doesn't keep another one from being notified.
func TestPhonesAreNotifiedAtOnce(t *testing.T) {
	all := make(chan struct{})
	arrived := make(chan struct{}, 2)
	s, letter, _ := service(t, func(w http.ResponseWriter, _ *http.Request) {
		arrived <- struct{}{}
		<-all
		w.WriteHeader(http.StatusCreated)
	})
	withPhone(letter, "c2", "/other")
	done := make(chan error, 1)
	go func() {
		_, err := s.Write(t.Context(), "", letter)
		done <- err
	}()
	<-arrived
	<-arrived
	close(all)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// Of a phone that is gone and one whose service is busy, the second can be notified later.
func TestBusyServicesAreAskedAgain(t *testing.T) {
	for written, want := range map[string]time.Duration{"": 0, "20": 20 * time.Second, "-1": 0, "x": 0, "99999999999": 0} {
		s, letter, _ := service(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/secret" {
				w.WriteHeader(http.StatusGone)
				return
			}
			w.Header().Set("Retry-After", written)
			w.WriteHeader(http.StatusTooManyRequests)
		})
		withPhone(letter, "c2", "/other")
		_, err := s.Write(t.Context(), "", letter)
		failure := new(notify.Failure)
		if !errors.As(err, &failure) || failure.Permanent || failure.After != want {
			t.Errorf("Retry-After %q: %v after %s", written, err, failure.After)
		}
	}
}

// U05: of an answer without end, the beginning is read.
func TestHugeAnswers(t *testing.T) {
	written := make(chan int, 1)
	s, letter, _ := service(t, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(http.StatusCreated)
		n := 0
		for chunk := make([]byte, 64<<10); r.Context().Err() == nil; n += len(chunk) {
			if _, err := w.Write(chunk); err != nil {
				break
			}
		}
		written <- n
	})
	if _, err := s.Write(t.Context(), "", letter); err != nil {
		t.Error(err)
	}
	if n := <-written; n > 16<<20 {
		t.Errorf("the service could send %d bytes", n)
	}
}
