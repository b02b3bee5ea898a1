(function () {
  "use strict";
  var state = document.getElementById("state");
  var list = document.getElementById("found");
  var buttons = [document.getElementById("quick"), document.getElementById("long")];

  // Reads a stream of pads. The answer has when each was sent and heard, and whether the stream came to its end.
  function read(query, hear) {
    var begun = performance.now();
    var result = { pads: [], headers: {}, ping: null, whole: false, lasted: 0 };
    return fetch(STREAM + query, { cache: "no-store" }).then(function (response) {
      if (!response.ok) throw new Error("HTTP status " + response.status);
      response.headers.forEach(function (value, name) { result.headers[name.toLowerCase()] = value; });
      var reader = response.body.getReader(), decoder = new TextDecoder(), text = "", last = -1;
      var expected = Number(new URLSearchParams(query).get("pads"));
      function next() {
        return reader.read().then(function (part) {
          if (part.done) return;
          text += decoder.decode(part.value, { stream: true });
          var frames = text.split("\n\n");
          text = frames.pop();
          frames.forEach(function (frame) {
            var sent = JSON.parse(frame.slice(frame.indexOf("data:") + 5));
            if (sent.ping) result.ping = sent.ping;
            last = sent.pad;
            result.pads.push({ at: sent.at, heard: performance.now() - begun });
            hear(result.pads.length, expected + 1);
          });
          return next();
        });
      }
      var done = function () {
        result.whole = last === expected;
        result.lasted = (performance.now() - begun) / 1000;
        return result;
      };
      return next().then(done, done);
    });
  }

  function socket() {
    return new Promise(function (done) {
      var address = location.protocol.replace("http", "ws") + "//" + location.host + SOCKET;
      var one = new WebSocket(address);
      var timer = setTimeout(function () { end(false); }, 5000);
      function end(passes) { clearTimeout(timer); one.onerror = one.onclose = null; one.close(); done(passes); }
      one.onopen = function () { one.send('{"id":1,"command":"ping"}'); };
      one.onmessage = function () { end(true); };
      one.onerror = one.onclose = function () { end(false); };
    });
  }

  function protocol() {
    var entries = performance.getEntriesByType("resource").filter(function (one) { return one.name.indexOf(STREAM) > 0; });
    return entries.length ? entries[entries.length - 1].nextHopProtocol || null : null;
  }

  function show(found) {
    list.textContent = "";
    found.forEach(function (one) {
      var item = document.createElement("li");
      item.className = one.good ? "good" : "bad";
      var title = document.createElement("strong");
      title.textContent = (one.good ? "✓ " : "✗ ") + one.title;
      var text = document.createElement("p");
      text.textContent = one.text;
      item.append(title, text);
      if (one.setting) {
        var setting = document.createElement("pre");
        setting.tabIndex = 0;
        setting.textContent = one.setting;
        item.append(setting);
        if (navigator.clipboard) {
          var copy = document.createElement("button");
          copy.className = "button small";
          copy.textContent = "Copy";
          copy.setAttribute("aria-label", "Copy the setting for: " + one.title);
          copy.onclick = function () {
            navigator.clipboard.writeText(one.setting).then(function () { copy.textContent = "Copied"; });
          };
          item.append(copy);
        }
      }
      list.append(item);
    });
    var bad = found.filter(function (one) { return !one.good; }).length;
    state.textContent = bad === 0 ? "All is well." : bad === 1 ? "One thing is wrong." : bad + " things are wrong.";
  }

  function ask(measured) {
    var body = JSON.stringify(measured);
    return fetch(DIAGNOSIS, { method: "POST", headers: { "content-type": "application/json" }, body: body })
      .then(function (response) {
        return response.json().then(function (answer) {
          // A refusal has a sentence, such as one about a header that the proxy changes.
          if (response.ok) show(answer);
          else state.textContent = answer.message;
        });
      });
  }

  function run(long) {
    buttons.forEach(function (one) { one.disabled = true; });
    list.textContent = "";
    var measured = {};
    state.textContent = "Measuring the pace of a stream …";
    read("?pads=20&every=100", function (n, of) { state.textContent = "Measuring the pace of a stream: " + n + " of " + of + " …"; })
      .then(function (quick) {
        measured.pads = quick.pads;
        measured.headers = quick.headers;
        measured.ping = quick.ping;
        measured.protocol = protocol();
        state.textContent = "Opening a WebSocket …";
        return socket();
      })
      .then(function (passes) {
        measured.socket = passes;
        if (!long) return;
        var left = 75, timer = setInterval(function () {
          left -= 1;
          state.textContent = "Waiting for cuts: " + left + " s …";
        }, 1000);
        state.textContent = "Waiting for cuts: 75 s …";
        return Promise.all([
          read("?pads=1&every=100&idle=75000", function () {}),
          read("?pads=75&every=1000", function () {})
        ]).then(function (both) {
          clearInterval(timer);
          measured.silence = { wanted: 75, lasted: both[0].lasted, whole: both[0].whole };
          measured.lasting = { wanted: 75, lasted: both[1].lasted, whole: both[1].whole };
        }, function (why) { clearInterval(timer); throw why; });
      })
      .then(null, function (why) { measured.failure = String(why.message || why); })
      .then(function () { return ask(measured); })
      .then(null, function () { state.textContent = "The server cannot be reached. Try again when it can."; })
      .then(function () { buttons.forEach(function (one) { one.disabled = false; }); });
  }

  buttons[0].onclick = function () { run(false); };
  buttons[1].onclick = function () { run(true); };
  buttons.forEach(function (one) { one.disabled = false; });
})();
