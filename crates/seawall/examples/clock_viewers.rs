//! What viewers of the clock cost: serves the clock as a worker does, watches it from a second process, and prints what each
//! viewer took of a core and of memory.
//!
//!     cargo run --release -p seawall --example clock_viewers -- measure 6000 30
//!     cargo run --release -p seawall --example clock_viewers -- serve 127.0.0.1:8090 3600
//!
//! Only loopback is ever served or watched.

use std::cell::{Cell, RefCell};
use std::error::Error;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, ExitCode, Stdio};
use std::rc::Rc;
use std::time::Duration;

use rustix::process::{Resource, Rlimit};
use seawall::host::clock::{Clock, wall_clock};
use seawall::origin::clock::{Answer, Broadcaster, Limits, route, run};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments.as_slice() {
        ["serve", address, seconds] => serve_for(address, seconds),
        ["watch", address, viewers, seconds] => watch(address, viewers, seconds),
        ["measure", viewers, seconds] => measure(viewers, seconds),
        _ => Err("usage: serve ADDRESS SECONDS | watch ADDRESS VIEWERS SECONDS | measure VIEWERS SECONDS".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("clock_viewers: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve_for(address: &str, seconds: &str) -> Outcome<()> {
    let listener = TcpListener::bind(loopback(address)?)?;
    let duration = Duration::from_secs(seconds.parse()?);
    in_runtime(async {
        let broadcaster = Rc::new(RefCell::new(Broadcaster::new(Limits::default(), wall_clock())));
        accept(listener, Rc::clone(&broadcaster))?;
        run(broadcaster, tokio::time::sleep(duration), |finished| println!("{finished:?}")).await;
        Ok(())
    })
}

/// Serves in this process, watches from another, and measures this one while the number of viewers stands.
fn measure(viewers: &str, seconds: &str) -> Outcome<()> {
    let (count, measured): (usize, u64) = (viewers.parse()?, seconds.parse()?);
    raise_open_files()?;
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?.to_string();
    in_runtime(async {
        let broadcaster = Rc::new(RefCell::new(Broadcaster::new(Limits::default(), wall_clock())));
        accept(listener, Rc::clone(&broadcaster))?;
        let memory_before = resident_kibibytes()?;
        // Until the last is there, then the seconds that are measured, and some to spare.
        let watched = (measured + 60).to_string();
        let mut watcher = Command::new(std::env::current_exe()?)
            .args(["watch", &address, viewers, &watched])
            .stdin(Stdio::piped())
            .spawn()?;

        let stop = Rc::new(tokio::sync::Notify::new());
        let stopped = Rc::clone(&stop);
        let longest_wait = Rc::new(Cell::new(Duration::ZERO));
        let beat = tokio::task::spawn_local(run(
            Rc::clone(&broadcaster),
            async move { stopped.notified().await },
            |_finished| {},
        ));
        while broadcaster.borrow().counters().viewers < count {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        tokio::time::sleep(Duration::from_secs(2)).await;

        let (before, processor_before) = (broadcaster.borrow().counters(), processor_time());
        let clock = Clock::start();
        tokio::time::sleep(Duration::from_secs(measured)).await;
        let (elapsed, processor) = (clock.uptime(), processor_time() - processor_before);
        let after = broadcaster.borrow().counters();
        let memory = resident_kibibytes()?.saturating_sub(memory_before);
        let bytes = after.bytes_total - before.bytes_total;
        // In a run of its own, since it takes processor time itself.
        let others = tokio::task::spawn_local(wait_between_others(Rc::clone(&longest_wait)));
        tokio::time::sleep(Duration::from_secs(5)).await;
        others.abort();
        println!("viewers              {} (of {count}), {} slow", after.viewers, after.slow_total);
        println!("measured             {:.1} s", elapsed.as_secs_f64());
        println!("of one core          {:.2} %", 100.0 * processor.as_secs_f64() / elapsed.as_secs_f64());
        println!(
            "for each send        {:.2} us",
            1e6 * processor.as_secs_f64() / (elapsed.as_secs_f64() * after.viewers as f64)
        );
        println!("bytes a frame        {:.1}", bytes as f64 / (elapsed.as_secs_f64().round() * after.viewers as f64));
        println!("resident, a viewer   {:.3} KiB ({memory} KiB in all)", memory as f64 / after.viewers as f64);
        println!("others waited        {:.2} ms at most, of processor time", longest_wait.get().as_secs_f64() * 1e3);
        stop.notify_one();
        beat.await?;
        drop(watcher.stdin.take());
        watcher.wait()?;
        Ok(())
    })
}

/// How long other work of the worker waits for its turn: the time between two turns of a task that is always ready. In
/// processor time, so that what else runs on the machine does not count.
async fn wait_between_others(longest: Rc<Cell<Duration>>) {
    loop {
        // Being always ready would take the core. So: ready for the first 80 milliseconds of each second, in which the pass
        // over the viewers falls.
        let now = wall_clock().as_micros() % 1_000_000;
        if now > 80_000 {
            tokio::time::sleep(Duration::from_micros(1_000_000 - now)).await;
        }
        let before = processor_time();
        tokio::task::yield_now().await;
        longest.set(longest.get().max(processor_time().saturating_sub(before)));
    }
}

/// Accepts for ever, reads one short head, and hands the socket on.
fn accept(listener: TcpListener, broadcaster: Rc<RefCell<Broadcaster>>) -> Outcome<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    tokio::task::spawn_local(async move {
        let mut token = 0;
        while let Ok((stream, _)) = listener.accept().await {
            token += 1;
            tokio::task::spawn_local(answer(stream, token, Rc::clone(&broadcaster)));
        }
    });
    Ok(())
}

async fn answer(stream: tokio::net::TcpStream, token: u64, broadcaster: Rc<RefCell<Broadcaster>>) {
    let mut head = [0; 2_048];
    let length = loop {
        if stream.readable().await.is_err() {
            return;
        }
        match stream.try_read(&mut head) {
            Ok(length) => break length,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => return,
        }
    };
    let Ok(stream) = stream.into_std() else { return };
    let head = String::from_utf8_lossy(&head[..length]);
    let mut words = head.split(' ');
    match route(words.next().unwrap_or_default(), words.next().unwrap_or_default()) {
        Answer::Stream => {
            if let Err(full) = broadcaster.borrow_mut().adopt(stream.into(), token) {
                eprintln!("{full}");
            }
        }
        Answer::Ready(response) => {
            let _the_client_left = (&stream).write_all(response);
        }
    }
}

/// Opens the viewers' connections, four at a time to spare the listener's queue, and reads until standard input ends.
fn watch(address: &str, viewers: &str, seconds: &str) -> Outcome<()> {
    let address = loopback(address)?;
    let (count, seconds): (usize, u64) = (viewers.parse()?, seconds.parse()?);
    raise_open_files()?;
    std::thread::spawn(|| {
        let _end = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    in_runtime(async {
        for _ in 0..count {
            let mut stream = TcpStream::connect(address)?;
            stream.write_all(b"GET /time.gif HTTP/1.1\r\nHost: localhost\r\n\r\n")?;
            stream.set_nonblocking(true)?;
            let stream = tokio::net::TcpStream::from_std(stream)?;
            tokio::task::spawn_local(async move {
                let mut piece = [0; 1_024];
                while stream.readable().await.is_ok() {
                    if matches!(stream.try_read(&mut piece), Ok(0)) {
                        return;
                    }
                }
            });
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_secs(seconds)).await;
        Ok(())
    })
}

fn in_runtime<T>(work: impl Future<Output = Outcome<T>>) -> Outcome<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    tokio::task::LocalSet::new().block_on(&runtime, work)
}

fn loopback(address: &str) -> Outcome<SocketAddr> {
    let address: SocketAddr = address.parse()?;
    if address.ip().is_loopback() { Ok(address) } else { Err(format!("{address} is not on loopback").into()) }
}

fn raise_open_files() -> Outcome<()> {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    Ok(rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?)
}

/// Processor time of this process, the kernel's work for it included.
fn processor_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn resident_kibibytes() -> Outcome<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).ok_or("no VmRSS in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
