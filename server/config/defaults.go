package config

import "maildird/maildir/folder"

// defaults of settings that may be left out.
const (
	defaultReserve     = 64 << 20
	defaultMessageSize = 50 << 20
)

// specialUse are the attributes of RFC 6154 that a folder can be given.
var specialUse = []string{`\All`, `\Archive`, `\Drafts`, `\Flagged`, `\Junk`, `\Sent`, `\Trash`}

// standardFolders are made for a new user.
var standardFolders = []folder.Default{
	{Name: "Drafts", SpecialUse: `\Drafts`},
	{Name: "Sent", SpecialUse: `\Sent`},
	{Name: "Junk", SpecialUse: `\Junk`},
	{Name: "Trash", SpecialUse: `\Trash`},
	{Name: "Archive", SpecialUse: `\Archive`},
}

// usualNames are what other programs call these folders in a Maildir that
// exists already.
var usualNames = map[string]string{
	"Drafts": `\Drafts`,
	"Sent":   `\Sent`, "Sent Items": `\Sent`, "Sent Messages": `\Sent`, "Sent Mail": `\Sent`,
	"Junk": `\Junk`, "Spam": `\Junk`, "Junk E-mail": `\Junk`,
	"Trash": `\Trash`, "Deleted Items": `\Trash`, "Deleted Messages": `\Trash`,
	"Archive": `\Archive`, "Archives": `\Archive`,
}
