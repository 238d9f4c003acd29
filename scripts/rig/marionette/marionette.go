// Package marionette is a small client for Mozilla's remote protocol Marionette. It can run
// privileged scripts in a Thunderbird that was started with --marionette
// --remote-allow-system-access, and take a screenshot.
//
// A message is its length in decimal, a colon, and a JSON array:
// [0, id, command, parameters] from the client, [1, id, error, result] back.
package marionette

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"
)

// maxMessage is the maximum size of an answer; screenshots are the largest.
const maxMessage = 64 << 20

// Client is a connection. Only one goroutine at a time may use it.
type Client struct {
	conn net.Conn
	r    *bufio.Reader
	id   int
}

// Error is Thunderbird's answer if a command failed or a script threw.
type Error struct {
	Code    string `json:"error"`
	Message string `json:"message"`
	Stack   string `json:"stacktrace"`
}

func (e *Error) Error() string {
	return fmt.Sprintf("marionette: %s: %s\n%s", e.Code, e.Message, e.Stack)
}

// Dial connects to address, opens a session and enters the privileged context. limit is the
// maximum duration of each exchange that Dial makes.
func Dial(address string, limit time.Duration) (*Client, error) {
	conn, err := net.DialTimeout("tcp", address, limit)
	if err != nil {
		return nil, err
	}
	c := &Client{conn: conn, r: bufio.NewReader(conn)}
	if err := c.open(limit); err != nil {
		conn.Close()
		return nil, err
	}
	return c, nil
}

func (c *Client) open(limit time.Duration) error {
	if err := c.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	var hello struct {
		Type     string `json:"applicationType"`
		Protocol int    `json:"marionetteProtocol"`
	}
	data, err := c.read()
	if err != nil {
		return fmt.Errorf("marionette: greeting: %w", err)
	}
	if err := json.Unmarshal(data, &hello); err != nil || hello.Protocol != 3 {
		return fmt.Errorf("marionette: unexpected greeting %q", data)
	}
	if err := c.call("WebDriver:NewSession", map[string]any{}, nil, limit); err != nil {
		return err
	}
	return c.call("Marionette:SetContext", map[string]any{"value": "chrome"}, nil, limit)
}

// Close closes the connection; Thunderbird keeps running.
func (c *Client) Close() error { return c.conn.Close() }

// Run runs body as the body of an asynchronous function with the arguments args, and stores its
// result in result, unless that is nil.
func (c *Client) Run(body string, args []any, result any, limit time.Duration) error {
	script := `const done = arguments[arguments.length - 1];
(async (...args) => {` + body + `
})(...Array.from(arguments).slice(0, -1)).then(
  value => done({ value: value === undefined ? null : value }),
  error => done({ failed: String(error), stack: String(error && error.stack) }));`
	if args == nil {
		args = []any{}
	}
	if err := c.call("WebDriver:SetTimeouts", map[string]any{"script": limit.Milliseconds()}, nil, limit); err != nil {
		return err
	}
	var answer struct {
		Value struct {
			Value  json.RawMessage `json:"value"`
			Failed string          `json:"failed"`
			Stack  string          `json:"stack"`
		} `json:"value"`
	}
	params := map[string]any{"script": script, "args": args, "sandbox": "system", "newSandbox": true}
	if err := c.call("WebDriver:ExecuteAsyncScript", params, &answer, limit+5*time.Second); err != nil {
		return err
	}
	if answer.Value.Failed != "" {
		return &Error{Code: "script failed", Message: answer.Value.Failed, Stack: answer.Value.Stack}
	}
	if result == nil {
		return nil
	}
	return json.Unmarshal(answer.Value.Value, result)
}

// Screenshot returns the current window as a PNG.
func (c *Client) Screenshot() ([]byte, error) {
	var answer struct {
		Value string `json:"value"`
	}
	err := c.call("WebDriver:TakeScreenshot", map[string]any{"full": true, "hash": false}, &answer, 20*time.Second)
	if err != nil {
		return nil, err
	}
	return base64.StdEncoding.DecodeString(answer.Value)
}

// Quit asks Thunderbird to quit.
func (c *Client) Quit() error {
	return c.call("Marionette:Quit", map[string]any{"flags": []string{"eForceQuit"}}, nil, 20*time.Second)
}

func (c *Client) call(command string, params, result any, limit time.Duration) error {
	c.id++
	data, err := json.Marshal([]any{0, c.id, command, params})
	if err != nil {
		return err
	}
	if err := c.conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(c.conn, "%d:%s", len(data), data); err != nil {
		return err
	}
	for {
		data, err = c.read()
		if err != nil {
			return fmt.Errorf("marionette: %s: %w", command, err)
		}
		var message []json.RawMessage
		if err := json.Unmarshal(data, &message); err != nil {
			return err
		}
		var id int
		if len(message) != 4 || json.Unmarshal(message[1], &id) != nil || id != c.id {
			continue // the answer to an abandoned command
		}
		if string(message[2]) != "null" {
			e := new(Error)
			if err := json.Unmarshal(message[2], e); err != nil {
				return err
			}
			return e
		}
		if result == nil {
			return nil
		}
		return json.Unmarshal(message[3], result)
	}
}

func (c *Client) read() ([]byte, error) {
	digits, err := c.r.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(digits[:len(digits)-1])
	if err != nil || n < 0 || n > maxMessage {
		return nil, errors.New("bad length of a message")
	}
	data := make([]byte, n)
	_, err = io.ReadFull(c.r, data)
	return data, err
}
