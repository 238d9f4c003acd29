package config

import "fmt"

// Template is the file that "maildird init" writes: all settings, with what
// they mean.
func Template(hostname, domain, postmaster string) string {
	return fmt.Sprintf(template, hostname, domain, postmaster)
}

const template = `# Settings of maildird. Paths are relative to this file. Changes of users and aliases are seen
# within two seconds, of certificate and log level after SIGHUP, others after a restart.

hostname = %q
domains  = [%q]
cache_dir = "cache"                    # disposable: delete it while stopped and nothing a user sees changes
postmaster = %q   # where postmaster and abuse mail goes; required

[mail]
location = "mail/%%d/%%n"                # Maildir root per user; %%u address, %%n local part, %%d domain, %%h home
layout   = "maildir++"                 # or "fs"
separator = "/"                        # on the wire; "." and prefix "INBOX." for clients set up so for Dovecot or Courier
prefix   = ""
# fsync = "always"                     # "never" is for tests: a power failure loses acknowledged mail
# compress = ""                        # or "gzip" or "zstd": how new files are stored; all are always read
# reserve = "64MiB"                    # less free disk than this: mail is refused for now (452)
# quota = ""                           # such as "1GiB": what each user may have; a user's own: userdb_quota_rule=*:storage=2G:messages=5000
# quota_messages = 0                   # and how many messages
# [mail.special_use]                   # instead of the usual names (Sent, Sent Items, Spam, ...)
# "Gesendet" = "\\Sent"

[auth]
users = "users"                        # Dovecot passwd-file: name:{SCHEME}hash:uid:gid::home::extra
# aliases = "aliases"                  # Postfix's virtual(5): "info alice, bob@example.org", "@example.org alice" for what is left
plaintext_from = ["127.0.0.1/32", "::1/128"]   # peers that may log in without TLS

# [auth.oauth]                         # users may log in with access tokens (OAUTHBEARER, XOAUTH2)
# issuer   = "https://id.example.org"
# audience = "mail"
# jwks     = "https://id.example.org/jwks.json"   # or a file; for signed tokens (JWT)
# introspection = "https://id.example.org/introspect"   # instead of jwks: the issuer is asked (RFC 7662)
# client_id     = "maildird"           # with these credentials
# client_secret = ""
# username_claim = "email"             # names the user in the users file
# scope = ""                           # that a token must have
# openid_configuration = ""            # URL that clients are told

[tls]
cert = "cert.pem"
key  = "key.pem"

[listen]                               # any may be missing or a list; "unix:PATH" is for lmtp
smtp        = ["127.0.0.1:2525"]
submission  = ["127.0.0.1:2587"]
submissions = ["127.0.0.1:2465"]
lmtp        = ["unix:lmtp.sock"]
imap        = ["127.0.0.1:2143"]
imaps       = ["127.0.0.1:2993"]

# [relay]                           # who sends what users submit for other domains; without it they get 550
# server   = "smtps://mail.isp.example:465"   # or "smtp://HOST:587" with STARTTLS; without TLS on this machine only: "smtp://127.0.0.1:25"
# user     = ""                     # "" is no login
# password = ""
# ca       = ""                     # file with the roots to trust; "" is the system's

# [smtp]
# bare_newline = "normalize"        # or "reject": what a bare LF in a message is
# greet_delay  = "0s"               # strangers who speak before the greeting comes are sent away

# [imap]
# rev2 = true                       # announce IMAP4rev2
# unauthenticate = true             # clients may log in as another user on one connection; a proxy that checks logins may not see that
# uidonly = false                   # announce UIDONLY; Outlook's servers turn it on and then cannot read mail
# submit_users = []                 # who submit for others, and may read URLs that are for that (URLAUTH, submit+)

# [limits]
# connections            = 10000    # of all services
# connections_per_ip     = 100
# connections_per_user   = 50       # logged in, by IMAP and submission
# connections_per_minute = 600      # new ones of one address
# message_size           = "50MiB"
# recipients             = 1000     # of one message
# messages_per_hour      = 1000     # that one user may send by submission
# recipients_per_hour    = 10000

# [log]
# level  = "info"                   # debug, info, warn, error
# format = "text"                   # or "json"

# [debug]
# pprof = "127.0.0.1:6060"          # Go's profiles of the running program, for this machine only
`
