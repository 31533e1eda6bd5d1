// SPDX-License-Identifier: MIT
// What a person names to be matched against: a kernel's image, a module's file, or the memory of a kernel that ran. The last
// two need the kernel's image as well: a module lies beside it, and memory is read together with it.
using System.Buffers.Binary;
using Ksplice.Build.Diagnostics;
using Ksplice.Build.Elf;
using Ksplice.Build.Kernel;

namespace Ksplice.Build.Matching;

/// <summary>A file as memory to match against.</summary>
public sealed class MemoryFile : IDisposable
{
    private readonly KernelMemory? _run;
    private readonly Func<ulong, string?> _nameOf;

    private MemoryFile(IMatchMemory memory, string description, Func<ulong, string?> nameOf, KernelMemory? run = null) =>
        (Memory, Description, _nameOf, _run) = (memory, description, nameOf, run);

    /// <summary>What to match against.</summary>
    public IMatchMemory Memory { get; }

    /// <summary>What it is, for a person.</summary>
    public string Description { get; }

    /// <summary>The symbol at or before an address with the distance to it, <c>name+0x10</c>, or null.</summary>
    public string? NameOf(ulong address) => _nameOf(address);

    /// <summary>
    /// Opens a file; <paramref name="kernel"/> is the kernel's image where the file is a module or
    /// memory, null for the one that is installed.
    /// </summary>
    public static MemoryFile? Open(string path, string? kernel, DiagnosticBag diagnostics)
    {
        ArgumentNullException.ThrowIfNull(diagnostics);
        try
        {
            return Kind(path) switch
            {
                FileKind.Memory => OpenMemory(path, kernel, diagnostics),
                FileKind.Module => OpenModule(path, kernel, diagnostics),
                _ => KernelImage.Open(path, diagnostics) is { } image
                    ? new MemoryFile(new ImageMemory(image), image.Banner, image.NameOf)
                    : null,
            };
        }
        catch (Exception problem) when (problem is IOException or UnauthorizedAccessException or InvalidDataException or ElfFormatException)
        {
            diagnostics.Report(MatchDiagnostics.BadMemory, new SourceLocation(path), path, problem.Message);
            return null;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => _run?.Dispose();

    private enum FileKind
    {
        Image,
        Module,
        Memory,
    }

    private static FileKind Kind(string path)
    {
        const ushort Relocatable = 1,
            Core = 4;
        Span<byte> head = stackalloc byte[20];
        using var file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        int count = RandomAccess.Read(file, head, 0);
        if (count == head.Length && head[..4].SequenceEqual("\u007fELF"u8))
        {
            ushort type = BinaryPrimitives.ReadUInt16LittleEndian(head[16..]);
            return type switch
            {
                Relocatable => FileKind.Module,
                Core => FileKind.Memory,
                _ => FileKind.Image,
            };
        }
        // A bzImage begins with code or a DOS header; only modules are compressed as they are.
        bool compressed =
            head[..2] is [0x1f, 0x8b]
            || head[..6] is [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]
            || BinaryPrimitives.ReadUInt32LittleEndian(head) == 0xfd2fb528;
        return compressed ? FileKind.Module : FileKind.Image;
    }

    private static MemoryFile? OpenMemory(string path, string? kernel, DiagnosticBag diagnostics)
    {
        var run = KernelMemory.Open(path);
        RunMemory? memory = null;
        if (OpenKernel(kernel, run.Image.Release, path, diagnostics) is { } image)
            memory = RunMemory.Create(run, image, diagnostics);
        if (memory is null)
        {
            run.Dispose();
            return null;
        }
        return new MemoryFile(
            memory,
            $"{run.Image.Banner}, in memory at 0x{memory.Text:x}",
            address => run.Image.NameOf(address) ?? memory.NameOf(address),
            run
        );
    }

    private static MemoryFile? OpenModule(string path, string? kernel, DiagnosticBag diagnostics)
    {
        var file = ModuleFile.Read(File.ReadAllBytes(path), path);
        if (
            OpenKernel(kernel, file.Release, path, diagnostics) is not { } image
            || LoadedModule.Load(file, new ShippedModules(file.Release, image.Path), image, diagnostics) is not { } module
        )
            return null;
        return new MemoryFile(new ModuleMemory(module, new ImageMemory(image)), $"module {file.Name} of {image.Banner}", address =>
            module.NameOf(address) ?? image.NameOf(address)
        );
    }

    private static KernelImage? OpenKernel(string? named, string release, string path, DiagnosticBag diagnostics)
    {
        string[] places = named is not null
            ? [named]
            : [$"/boot/vmlinuz-{release}", Path.Combine(KernelCache.DefaultRoot, "images", release, "boot", "vmlinuz-" + release)];
        if (Array.Find(places, File.Exists) is not { } found)
        {
            diagnostics.Report(MatchDiagnostics.NoImage, new SourceLocation(path), path, release, string.Join(", ", places));
            return null;
        }
        if (KernelImage.Open(found, diagnostics) is not { } image)
            return null;
        if (image.Release == release)
            return image;
        diagnostics.Report(MatchDiagnostics.OtherKernel, new SourceLocation(path), path, release, found, image.Banner);
        return null;
    }
}
