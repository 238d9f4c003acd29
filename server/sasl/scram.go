package sasl

import (
	"crypto/tls"
	"errors"
	"strings"

	"github.com/xdg-go/scram"
)

// scramExchange is the server side of SCRAM-SHA-256 (RFC 5802, RFC 7677), or of
// its variant that is bound to the TLS connection by tls-exporter (RFC 9266).
// It implements go-sasl's Server.
type scramExchange struct {
	keys func(name string) scram.StoredCredentials
	tls  *tls.ConnectionState // nil without TLS
	plus bool
	conv *scram.ServerConversation
}

// newSCRAM returns a new exchange. keys returns what proofs are checked against, for every
// name. state is that of the client's TLS connection, nil without TLS. With plus, the proof
// must be bound to it.
func newSCRAM(keys func(name string) scram.StoredCredentials, state *tls.ConnectionState, plus bool) *scramExchange {
	return &scramExchange{keys: keys, tls: state, plus: plus}
}

// Next implements go-sasl's Server. The error is ErrProof or ErrOther, or another one
// for a malformed message.
func (x *scramExchange) Next(response []byte) (challenge []byte, done bool, err error) {
	if response == nil {
		return []byte{}, false, nil // the client sends the first message
	}
	if x.conv == nil {
		if x.conv, err = x.begin(string(response)); err != nil {
			return nil, true, err
		}
	}
	answer, err := x.conv.Step(string(response))
	switch {
	case x.conv.Done() && x.conv.Valid():
		return []byte(answer), true, nil
	case answer == scram.ErrInvalidProof, answer == scram.ErrChannelBindingsDontMatch, answer == scram.ErrServerDoesSupportChannelBinding:
		return nil, true, ErrProof
	case err != nil:
		return nil, true, err
	}
	return []byte(answer), false, nil
}

// Name returns the name that the client gave, "" before that.
func (x *scramExchange) Name() string {
	if x.conv == nil {
		return ""
	}
	return x.conv.Username()
}

// Identity is whom the client wants to act for, "" for the one of the name. What it says
// is proved when the exchange is done.
func (x *scramExchange) Identity() string {
	if x.conv == nil {
		return ""
	}
	return x.conv.AuthzID()
}

// begin parses the type of channel binding in the client's first message (RFC
// 5802 section 7, gs2-header).
func (x *scramExchange) begin(first string) (*scram.ServerConversation, error) {
	server, err := scram.SHA256.NewServer(func(name string) (scram.StoredCredentials, error) { return x.keys(name), nil })
	if err != nil {
		return nil, err
	}
	kind, bound := strings.CutPrefix(first, "p=")
	switch {
	case bound != x.plus:
		return nil, errors.New("the channel binding does not match the mechanism")
	case x.tls == nil:
		return server.NewConversation(), nil
	case bound && !strings.HasPrefix(kind, string(scram.ChannelBindingTLSExporter)+","):
		return nil, errors.New("the only supported channel binding is tls-exporter (RFC 9266)")
	}
	binding, err := scram.NewTLSExporterBinding(x.tls)
	switch {
	case err != nil && x.plus:
		return nil, err
	case err != nil: // TLS 1.2 without the extended master secret: nothing to bind to
		return server.NewConversation(), nil
	case x.plus:
		return server.NewConversationWithChannelBindingRequired(binding), nil
	}
	// Detects a client that supports channel binding, but was made to believe that we do not.
	return server.NewConversationWithChannelBinding(binding), nil
}
