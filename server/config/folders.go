package config

import "maildird/maildir/folder"

// specialUse are the attributes of RFC 6154 that a folder can have.
var specialUse = []string{`\All`, `\Archive`, `\Drafts`, `\Flagged`, `\Junk`, `\Sent`, `\Trash`}

// standardFolders are created for a new user.
var standardFolders = []folder.Default{
	{Name: "Drafts", SpecialUse: `\Drafts`},
	{Name: "Sent", SpecialUse: `\Sent`},
	{Name: "Junk", SpecialUse: `\Junk`},
	{Name: "Trash", SpecialUse: `\Trash`},
	{Name: "Archive", SpecialUse: `\Archive`},
}

// usualNames are the names that other programs give to these folders in an existing Maildir.
var usualNames = map[string]string{
	"Drafts": `\Drafts`,
	"Sent":   `\Sent`, "Sent Items": `\Sent`, "Sent Messages": `\Sent`, "Sent Mail": `\Sent`,
	"Junk": `\Junk`, "Spam": `\Junk`, "Junk E-mail": `\Junk`,
	"Trash": `\Trash`, "Deleted Items": `\Trash`, "Deleted Messages": `\Trash`,
	"Archive": `\Archive`, "Archives": `\Archive`,
}
