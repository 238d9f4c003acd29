package smtp

// verb is a command.
type verb struct {
	// run answers the command. An SMTPError is sent as the reply; other errors
	// end the connection.
	run func(c *conn, arg string) error
	// alone says that a client has to wait for the answer before it sends more.
	alone bool
	// idle says that it begins nothing, and may come before that answer.
	idle bool
}

func verbsOf(k Kind) map[string]verb {
	verbs := map[string]verb{
		"MAIL":     {run: runMail},
		"RCPT":     {run: runRcpt},
		"DATA":     {run: runData}, // which looks at what follows itself
		"BDAT":     {run: runBdat},
		"RSET":     {run: runRset, idle: true},
		"NOOP":     {run: runNoop, idle: true},
		"VRFY":     {run: runVrfy},
		"EXPN":     {run: runUnsupported},
		"ETRN":     {run: runUnsupported},
		"TURN":     {run: runUnsupported},
		"HELP":     {run: runHelp},
		"QUIT":     {run: runQuit, idle: true},
		"STARTTLS": {run: runStartTLS}, // which drops what follows
		"AUTH":     {run: runUnsupported},
	}
	switch k {
	case LMTP:
		// RFC 2033 section 4.1: HELO and EHLO are not LMTP.
		verbs["LHLO"] = verb{run: runHello(true), alone: true}
	case Submission:
		verbs["AUTH"] = verb{run: runAuth}
		fallthrough
	case MX:
		verbs["HELO"] = verb{run: runHello(false), alone: true}
		verbs["EHLO"] = verb{run: runHello(true), alone: true}
	}
	return verbs
}

// foreign are first words of other protocols, which a browser can be made to
// send here with mail in the text.
var foreign = map[string]bool{
	"GET": true, "POST": true, "PUT": true, "HEAD": true, "OPTIONS": true, "CONNECT": true,
	"HOST:": true, "USER-AGENT:": true, "CONTENT-TYPE:": true,
}

// upper is strings.ToUpper for ASCII alone: no letter of another alphabet
// becomes one of a command.
func upper(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'a' <= c && c <= 'z' {
			b[i] = c - ('a' - 'A')
		}
	}
	return string(b)
}
