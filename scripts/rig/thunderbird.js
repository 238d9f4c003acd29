// The actions of a person in Thunderbird, as functions for privileged scripts. Each
// call of (*Thunderbird).Do runs one of them in a fresh sandbox.
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");

const mainWindow = () => Services.wm.getMostRecentWindow("mail:3pane");
const sleep = ms => new Promise(resolve => mainWindow().setTimeout(resolve, ms));

// until waits until check returns a true value, and returns that value. A check that
// throws is not ready yet: a folder's summary is being opened or rebuilt, or a part of
// a window does not exist yet.
async function until(what, ms, check) {
  const end = Date.now() + ms;
  for (;;) {
    let why = "";
    try {
      const value = await check();
      if (value) {
        return value;
      }
    } catch (error) {
      why = `: ${error}`;
    }
    if (Date.now() > end) {
      throw new Error(`timed out waiting for ${what}${why}`);
    }
    await sleep(100);
  }
}

function server(address) {
  for (const s of MailServices.accounts.allServers) {
    if (s.type == "imap" && s.username == address) {
      return s;
    }
  }
  throw new Error(`no account ${address}`);
}

// path returns the path of a folder below its account, with "/" between levels.
function path(folder) {
  const names = [];
  for (let f = folder; !f.isServer; f = f.parent) {
    names.unshift(f.name);
  }
  return names.join("/");
}

function find(address, name) {
  if (name == "INBOX") {
    return server(address).rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
  }
  return server(address).rootFolder.descendants.find(f => path(f) == name);
}

function subjects(folder) {
  return [...folder.messages].map(h => h.mime2DecodedSubject);
}

function message(folder, subject) {
  return [...folder.messages].find(h => h.mime2DecodedSubject == subject);
}

// Stores the password, as if a person had ticked "remember".
async function savePassword(origin, address, password) {
  const info = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
  info.init(origin, null, origin, address, password, "", "");
  await Services.logins.addLoginAsync(info);
}

// Accepts a certificate, as if a person had confirmed the exception.
function trust(host, port, base64) {
  const cert = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).constructX509FromBase64(base64);
  Cc["@mozilla.org/security/certoverride;1"]
    .getService(Ci.nsICertOverrideService)
    .rememberValidityOverride(host, port, {}, cert, false);
}

// Logs in, lists the folders, and then opens the inbox, one after the other. "Get
// Messages" would do both at the same time, on two connections. If the list ended while
// the first headers arrive, Thunderbird might create a second summary file for the inbox
// (INBOX-1.msf), and count messages twice or forget them.
async function connect(address, ms) {
  const { rootFolder } = server(address);
  const inbox = rootFolder.getFolderWithFlags(Ci.nsMsgFolderFlags.Inbox);
  const done = listener => new Promise((resolve, reject) => {
    const late = mainWindow().setTimeout(() => reject(new Error(`timed out connecting ${address}`)), ms);
    listener({
      QueryInterface: ChromeUtils.generateQI(["nsIUrlListener"]),
      OnStartRunningUrl() {},
      OnStopRunningUrl(url, status) {
        mainWindow().clearTimeout(late);
        Components.isSuccessCode(status) ? resolve() : reject(new Error(`${url?.spec}: ${status}`));
      },
    });
  });
  await done(l => MailServices.imap.discoverAllFolders(rootFolder, l, mainWindow().msgWindow));
  await until(`folders of ${address}`, ms, () => rootFolder.descendants.length > 1);
  await done(l => inbox.getNewMessages(mainWindow().msgWindow, l));
}

// Returns the folders of an account: a map from the path to the names of the special uses.
function folders(address) {
  const F = Ci.nsMsgFolderFlags;
  const uses = { Inbox: F.Inbox, Drafts: F.Drafts, Sent: F.SentMail, Junk: F.Junk, Trash: F.Trash, Archive: F.Archive };
  const result = {};
  for (const f of server(address).rootFolder.descendants) {
    result[path(f)] = Object.keys(uses).filter(u => f.flags & uses[u]);
  }
  return result;
}

// Shows a folder in the main window, which ignores folders that are not in its list yet,
// and initially shows a folder of its own choice.
async function open(address, name, ms) {
  const folder = await until(`folder ${name}`, ms, () => find(address, name));
  await until(`display of ${name}`, ms, () => {
    const pane = mainWindow().document.getElementById("tabmail").currentAbout3Pane;
    pane.displayFolder(folder.URI);
    return pane.gFolder == folder && pane.gDBView;
  });
}

// Waits until a message with that subject is in the folder, without sending a request to
// the server.
async function arrives(address, name, subject, ms) {
  const folder = find(address, name);
  await until(`${subject} in ${name} of ${address}`, ms, () => message(folder, subject));
}

// Waits until Thunderbird knows that many messages in a folder.
async function holds(address, name, count, ms) {
  const folder = await until(`folder ${name}`, ms, () => find(address, name));
  await until(`${count} messages in ${name} of ${address}`, ms, () => folder.getTotalMessages(false) == count && [...folder.messages].length == count);
}

// Waits until that many messages of a folder are starred.
async function starred(address, name, count, ms) {
  const folder = find(address, name);
  await until(`${count} stars in ${name} of ${address}`, ms, () => [...folder.messages].filter(h => h.isFlagged).length == count);
}

// Waits until no message with that subject is in the folder.
async function leaves(address, name, subject, ms) {
  const folder = find(address, name);
  await until(`${subject} to leave ${name} of ${address}`, ms, () => !message(folder, subject));
}

// Clicks a message in the open folder and returns the displayed text.
async function read(address, name, subject, ms) {
  await open(address, name, ms);
  await arrives(address, name, subject, ms);
  const folder = find(address, name);
  const pane = mainWindow().document.getElementById("tabmail").currentAbout3Pane;
  return until(`text of ${subject}`, ms, () => {
    const row = pane.gDBView.findIndexOfMsgHdr(message(folder, subject), true);
    if (row == 0xffffffff) {
      return null;
    }
    if (pane.threadTree.selectedIndex != row) {
      pane.threadTree.selectedIndex = row; // it moves when other messages arrive
    }
    const about = pane.messageBrowser && pane.messageBrowser.contentWindow;
    const content = about && about.getMessagePaneBrowser && about.getMessagePaneBrowser();
    if (!content || !about.gMessage || about.gMessage.mime2DecodedSubject != subject || !about.msgLoaded) {
      return null;
    }
    const body = content.contentDocument && content.contentDocument.body;
    return body && body.innerText.trim() ? body.innerText : null;
  });
}

// Writes a message in the compose window and presses Send.
async function send(address, to, subject, text, ms) {
  const identity = MailServices.accounts.allIdentities.find(i => i.email == address);
  const fields = Cc["@mozilla.org/messengercompose/composefields;1"].createInstance(Ci.nsIMsgCompFields);
  fields.to = to;
  fields.subject = subject;
  fields.body = text;
  const params = Cc["@mozilla.org/messengercompose/composeparams;1"].createInstance(Ci.nsIMsgComposeParams);
  params.composeFields = fields;
  params.identity = identity;
  params.type = Ci.nsIMsgCompType.New;
  params.format = Ci.nsIMsgCompFormat.PlainText;
  MailServices.compose.OpenComposeWindowWithParams(null, params);
  const win = await until("the compose window", ms, () => {
    const w = Services.wm.getMostRecentWindow("msgcompose");
    return w && w.composeEditorReady ? w : null;
  });
  await win.GenericSendMessage(Ci.nsIMsgCompDeliverMode.Now);
  await until("the compose window to close after sending", ms, () => win.closed);
}

// Stars or unstars a message.
async function star(address, name, subject, on) {
  const folder = find(address, name);
  folder.markMessagesFlagged([message(folder, subject)], on);
}

// Adds a tag.
async function tag(address, name, subject, key) {
  const folder = find(address, name);
  folder.addKeywordsToMessages([message(folder, subject)], key);
}

// Returns whether a message is starred and read, and its tags.
function state(address, name, subject) {
  const h = message(find(address, name), subject);
  return { starred: h.isFlagged, read: h.isRead, tags: h.getStringProperty("keywords").split(" ").filter(Boolean) };
}

// Waits for a state.
async function becomes(address, name, subject, want, ms) {
  await until(`${subject} ${JSON.stringify(want)}`, ms, () => {
    const now = state(address, name, subject);
    return Object.keys(want).every(k => String(now[k]) == String(want[k]));
  });
}

// Moves a message to another folder of the account.
async function move(address, from, to, subject, ms) {
  const source = find(address, from);
  MailServices.copy.copyMessages(source, [message(source, subject)], find(address, to), true, null, mainWindow().msgWindow, false);
  await leaves(address, from, subject, ms);
}

// Creates a top-level folder in the account.
async function createFolder(address, name, ms) {
  server(address).rootFolder.createSubfolder(name, mainWindow().msgWindow);
  await until(`folder ${name}`, ms, () => find(address, name));
}
