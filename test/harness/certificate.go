package harness

import (
	"crypto/tls"
	"net/http"
)

// Showing returns another tab of the same browser that shows a certificate to
// every site that asks for one, over connections of its own. It shows it
// whichever CAs a site names, as nobody's browser would.
func (c *Client) Showing(certificate tls.Certificate) *Client {
	tab := &Client{t: c.t, transport: newTransport(c.t, c.transport.TLSClientConfig.RootCAs), jar: c.jar}
	return tab.show(certificate)
}

// ShowingHTTP1 is Showing over HTTP/1.1 alone.
func (c *Client) ShowingHTTP1(certificate tls.Certificate) *Client {
	return c.HTTP1().show(certificate)
}

func (c *Client) show(certificate tls.Certificate) *Client {
	c.certificate = &certificate
	c.transport.TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
		return &certificate, nil
	}
	return c
}

// Transport returns what the browser's requests go through, for what only a
// program would send.
func (c *Client) Transport() *http.Transport { return c.transport }
