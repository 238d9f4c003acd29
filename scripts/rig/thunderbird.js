// What a person does in Thunderbird, as functions for privileged scripts. Each
// call of (*Thunderbird).Do runs one of them in a fresh sandbox.
const { MailServices } = ChromeUtils.importESModule("resource:///modules/MailServices.sys.mjs");

const mainWindow = () => Services.wm.getMostRecentWindow("mail:3pane");
const sleep = ms => new Promise(resolve => mainWindow().setTimeout(resolve, ms));

// until waits for check to give something true, and returns that. What throws is
// not ready: a folder's summary, which is opened or made anew, or a window's part.
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

// path of a folder below its account, levels joined by "/".
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

// Stores the password as a person does who ticks "remember".
async function savePassword(origin, address, password) {
  const info = Cc["@mozilla.org/login-manager/loginInfo;1"].createInstance(Ci.nsILoginInfo);
  info.init(origin, null, origin, address, password, "", "");
  await Services.logins.addLoginAsync(info);
}

// Accepts a certificate as a person does who confirms the exception.
function trust(host, port, base64) {
  const cert = Cc["@mozilla.org/security/x509certdb;1"].getService(Ci.nsIX509CertDB).constructX509FromBase64(base64);
  Cc["@mozilla.org/security/certoverride;1"]
    .getService(Ci.nsICertOverrideService)
    .rememberValidityOverride(host, port, {}, cert, false);
}

// Logs in, lists the folders, then opens the inbox. One after the other: left to
// itself, "Get Messages" does both at once on two connections, and if the list
// ends while the first headers come, Thunderbird may begin a second summary file
// for the inbox (INBOX-1.msf), and count messages twice or forget them.
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

// The folders of an account: path to the names of its special uses.
function folders(address) {
  const F = Ci.nsMsgFolderFlags;
  const uses = { Inbox: F.Inbox, Drafts: F.Drafts, Sent: F.SentMail, Junk: F.Junk, Trash: F.Trash, Archive: F.Archive };
  const result = {};
  for (const f of server(address).rootFolder.descendants) {
    result[path(f)] = Object.keys(uses).filter(u => f.flags & uses[u]);
  }
  return result;
}

// Shows a folder in the main window, which passes over what its list of folders has
// not yet, and at first shows one of its own choice.
async function open(address, name, ms) {
  const folder = await until(`folder ${name}`, ms, () => find(address, name));
  await until(`display of ${name}`, ms, () => {
    const pane = mainWindow().document.getElementById("tabmail").currentAbout3Pane;
    pane.displayFolder(folder.URI);
    return pane.gFolder == folder && pane.gDBView;
  });
}

// Waits until a message with that subject is in the folder without asking the
// server for anything.
async function arrives(address, name, subject, ms) {
  const folder = find(address, name);
  await until(`${subject} in ${name} of ${address}`, ms, () => message(folder, subject));
}

// Waits until a folder has that many messages, as Thunderbird knows them.
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

// Clicks a message of the open folder and returns the text that is shown.
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
      pane.threadTree.selectedIndex = row; // it moves when others come
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

// Whether a message is starred, read, and its tags.
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

// Makes a folder at the top of the account.
async function createFolder(address, name, ms) {
  server(address).rootFolder.createSubfolder(name, mainWindow().msgWindow);
  await until(`folder ${name}`, ms, () => find(address, name));
}
