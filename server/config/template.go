package config

import "fmt"

// Template returns the file that "maildird init" writes, with every setting and its meaning.
func Template(hostname, domain, postmaster string) string {
	return fmt.Sprintf(template, hostname, domain, postmaster)
}

const template = `# maildird settings. Paths are relative to this file. Changes to users and aliases take effect within
# two seconds, a new certificate or log level on SIGHUP, everything else on restart.

hostname = %q
domains  = [%q]
cache_dir = "cache"                    # disposable: delete it while the server is stopped, and users see no difference
postmaster = %q   # user who receives mail for postmaster and abuse; required

[mail]
location = "mail/%%d/%%n"                # each user's Maildir; %%u address, %%n local part, %%d domain, %%h home
layout   = "maildir++"                 # or "fs"
separator = "/"                        # in IMAP; "." and prefix "INBOX." for clients that were set up that way for Dovecot or Courier
prefix   = ""
# fsync = "always"                     # "never" is for tests: a power failure loses acknowledged mail
# compress = ""                        # "gzip" or "zstd" compresses new messages; these, lz4 and bzip2 can always be read, xz cannot
# reserve = "64MiB"                    # mail is refused for now (452) if less disk space than this is free; "0" turns that off
# quota = ""                           # per user, such as "1GiB"; for a single user: userdb_quota_rule=*:storage=2G:messages=5000
# quota_messages = 0                   # messages per user; 0 means no limit
# [mail.special_use]                   # replaces the usual names (Sent, Sent Items, Spam, ...)
# "Gesendet" = "\\Sent"

[auth]
users = "users"                        # Dovecot passwd-file: name:{SCHEME}hash:uid:gid::home::extra
# aliases = "aliases"                  # as in Postfix's virtual(5): "info alice, bob@example.org"; catch-all: "@example.org alice"
plaintext_from = ["127.0.0.1/32", "::1/128"]   # clients that may log in without TLS

# [auth.oauth]                         # logins with access tokens (OAUTHBEARER, XOAUTH2)
# issuer   = "https://id.example.org"
# audience = "mail"
# jwks     = "https://id.example.org/jwks.json"   # URL or file of the keys that verify signed tokens (JWT)
# introspection = "https://id.example.org/introspect"   # instead of jwks: ask the issuer about each token (RFC 7662)
# client_id     = "maildird"           # credentials for introspection
# client_secret = ""
# username_claim = "email"             # claim with the name in the users file
# scope = ""                           # scope that a token must have
# openid_configuration = ""            # URL announced to clients

[tls]
cert = "cert.pem"
key  = "key.pem"

[listen]                               # each may be omitted or a list of addresses; "unix:PATH" is for lmtp only
smtp        = ["127.0.0.1:2525"]
submission  = ["127.0.0.1:2587"]
submissions = ["127.0.0.1:2465"]
lmtp        = ["unix:lmtp.sock"]
imap        = ["127.0.0.1:2143"]
imaps       = ["127.0.0.1:2993"]

# [relay]                           # smart host for mail that users submit for other domains; without it such mail gets 550
# server   = "smtps://mail.isp.example:465"   # or "smtp://HOST:587" (STARTTLS), or on this machine "smtp://127.0.0.1:25" (TLS not required)
# user     = ""                     # "" means no login
# password = ""
# ca       = ""                     # file of CA certificates to trust; "" means the system's

# [smtp]
# bare_newline = "normalize"        # or "reject": what to do about a bare LF in a message
# greet_delay  = "0s"               # wait this long before greeting, and turn away clients that speak before it; for smtp only

# [imap]
# rev2 = true                       # announce IMAP4rev2
# unauthenticate = true             # let a connection log in as another user; a proxy that checks logins may not notice
# uidonly = false                   # announce UIDONLY; Outlook's servers turn it on and then cannot read mail
# submit_users = []                 # users who submit mail for others and may read URLs made for that purpose (URLAUTH, submit+)

# [limits]
# connections            = 10000    # of all services together
# connections_per_ip     = 100
# connections_per_user   = 50       # logged in, by IMAP and submission
# connections_per_minute = 600      # new ones from one address
# message_size           = "50MiB"
# recipients             = 1000     # of one message
# messages_per_hour      = 1000     # submitted by one user
# recipients_per_hour    = 10000    # of mail submitted by one user

# [log]
# level  = "info"                   # debug, info, warn, error
# format = "text"                   # or "json"

# [debug]
# pprof = "127.0.0.1:6060"          # Go profiles of the running program; loopback only
`
