// SPDX-License-Identifier: MIT
using Microsoft.Build.Framework;
using Microsoft.Build.Utilities;
using Microsoft.Extensions.Logging;
using ILogger = Microsoft.Extensions.Logging.ILogger;

namespace Ksplice.Tasks;

/// <summary>The engine's log as MSBuild messages: information shows at normal verbosity, the rest when asked for.</summary>
internal sealed class MSBuildLogger(TaskLoggingHelper log) : ILogger
{
    public IDisposable? BeginScope<TState>(TState state)
        where TState : notnull => null;

    public bool IsEnabled(LogLevel logLevel) => true;

    public void Log<TState>(
        LogLevel logLevel,
        EventId eventId,
        TState state,
        Exception? exception,
        Func<TState, Exception?, string> formatter
    )
    {
        var importance = logLevel >= LogLevel.Information ? MessageImportance.High : MessageImportance.Low;
        log.LogMessageFromText(formatter(state, exception), importance);
    }
}
