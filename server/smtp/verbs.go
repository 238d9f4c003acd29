package smtp

// verb is a command of the protocol.
type verb struct {
	// run executes the command. An SMTPError is sent as the reply; any other
	// error ends the connection.
	run func(c *conn, arg string) error
	// alone: the client must wait for the reply before it sends more.
	alone bool
	// idle: the command begins nothing, and is accepted before that reply.
	idle bool
	// vain: the command brings no message nearer; see conn.inVain.
	vain bool
	// grouped: the reply may wait for those to the commands that have already come behind it (RFC
	// 2920 section 3.2).
	grouped bool
}

func verbsOf(k Kind) map[string]verb {
	verbs := map[string]verb{
		"MAIL":     {run: runMail, grouped: true},
		"RCPT":     {run: runRcpt, grouped: true},
		"DATA":     {run: runData}, // checks itself what follows
		"BDAT":     {run: runBdat},
		"RSET":     {run: runRset, idle: true, vain: true, grouped: true},
		"NOOP":     {run: runNoop, idle: true, vain: true},
		"VRFY":     {run: runVrfy, vain: true},
		"EXPN":     {run: runUnsupported},
		"ETRN":     {run: runUnsupported},
		"TURN":     {run: runUnsupported},
		"HELP":     {run: runHelp, vain: true},
		"QUIT":     {run: runQuit, idle: true},
		"STARTTLS": {run: runStartTLS}, // discards what follows
		"AUTH":     {run: runUnsupported},
	}
	switch k {
	case LMTP:
		// RFC 2033 section 4.1: HELO and EHLO are not LMTP.
		verbs["LHLO"] = verb{run: runHello(true), alone: true, vain: true}
	case Submission:
		verbs["AUTH"] = verb{run: runAuth}
		fallthrough
	case MX:
		verbs["HELO"] = verb{run: runHello(false), alone: true, vain: true}
		verbs["EHLO"] = verb{run: runHello(true), alone: true, vain: true}
	}
	return verbs
}

// foreign are words that begin lines of other protocols. A browser can be made to send such
// lines here, with mail in what follows.
var foreign = map[string]bool{
	"GET": true, "POST": true, "PUT": true, "HEAD": true, "OPTIONS": true, "CONNECT": true,
	"HOST:": true, "USER-AGENT:": true, "CONTENT-TYPE:": true,
}

// upper is strings.ToUpper for ASCII only, so that no letter of another alphabet can become
// one of a command.
func upper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - ('a' - 'A')
		}
	}
	return string(b)
}
